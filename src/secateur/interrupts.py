"""Clean ends: the first Ctrl-C, or SIGTERM, lets what is going on finish its record; a second Ctrl-C stops at once."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import IO, Any

import psutil

EXIT_CODE = 130
"""Of a command that was interrupted, as shells have it: 128 + SIGINT."""


@dataclass
class Interrupts:
    """Whether an end was asked for."""

    asked: bool = False
    _held_back: bool = False

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """Within it the first interrupt is only noted, so that what has begun is whole; a second stops at once."""
        self._held_back = True
        try:
            yield
        finally:
            self._held_back = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Of SIGTERM only the first counts: a group and a parent that hands it on may both be sent the same one."""
        if not self.asked:
            self.asked = True
            if not self._held_back:
                raise KeyboardInterrupt
        elif number == signal.SIGINT:
            stop_at_once()


@contextmanager
def heeded() -> Iterator[Interrupts]:
    """Within it the first SIGINT or SIGTERM raises KeyboardInterrupt in the main thread, and a second SIGINT ends the
    process and all that it started."""
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():  # where signals are handled
        yield interrupts
        return
    before = {number: signal.signal(number, interrupts._handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop_at_once() -> None:
    """Ends this process and all that it started, however deep; nothing is finished."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    os._exit(EXIT_CODE)


def done_by(command: list[str], output: IO[str] | None) -> int:
    """Runs the command to its end; its exit code, negative where a signal ended it.

    An interrupt is handed on to it, and raised here when it has ended. It is in a process group of its own, so that a
    terminal's Ctrl-C reaches it once, and its standard input is a life line (`end_with_parent`).
    """
    options: dict[str, Any] = {"stdin": subprocess.PIPE, "process_group": 0}
    if output:
        options |= {"stdout": output, "stderr": subprocess.STDOUT}
    with heeded() as interrupts, subprocess.Popen(command, **options) as process:
        try:
            process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
            process.wait()
    if interrupts.asked:
        raise KeyboardInterrupt
    return process.returncode


def end_with_parent() -> None:
    """Ends this process cleanly when the one that started it with `done_by` is gone."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    while os.read(0, 1):  # no sys.stdin, whose lock a forked loader process would inherit
        pass
    os.kill(os.getpid(), signal.SIGTERM)
