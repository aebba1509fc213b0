"""Clean ends: the first Ctrl-C, or SIGTERM, lets what is going on finish its record; a second Ctrl-C stops at once."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Any

import psutil

EXIT_CODE = 130
"""Of a command that was interrupted, as shells have it: 128 + SIGINT."""

LOOK = 1.0  # seconds


@dataclass
class Interrupts:
    """Whether an end was asked for."""

    asked: bool = False
    _told: Callable[[], object] | None = None

    @contextmanager
    def held_back(self, tell: Callable[[], object] = lambda: None) -> Iterator[None]:
        """Within it the first interrupt is only noted and told, so that what has begun is whole; a second stops at
        once."""
        self._told = tell
        try:
            yield
        finally:
            self._told = None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Of SIGTERM only the first counts: a group and a parent that hands it on may both be sent the same one."""
        if not self.asked:
            self.asked = True
            if self._told is None:
                raise KeyboardInterrupt
            self._told()
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


def done_by(
    command: list[str],
    output: IO[str] | None,
    place: Path | None = None,
    asked_to_end: Callable[[], bool] = lambda: False,
) -> int:
    """Runs the command in the folder `place` to its end; its exit code, negative where a signal ended it.

    An interrupt, or `asked_to_end`, is handed on to it as SIGINT, and raised here when it has ended. It is in a process
    group of its own, so that a terminal's Ctrl-C reaches it once, and its standard input is a life line
    (`end_with_parent`).
    """
    options: dict[str, Any] = {"cwd": place, "stdin": subprocess.PIPE, "process_group": 0}
    if output:
        options |= {"stdout": output, "stderr": subprocess.STDOUT}
    with heeded() as interrupts, subprocess.Popen(command, **options) as process:
        try:
            _wait(process, asked_to_end)
        except KeyboardInterrupt:
            interrupts.asked = True
            process.send_signal(signal.SIGINT)
            process.wait()
    if interrupts.asked:
        raise KeyboardInterrupt
    return process.returncode


def _wait(process: subprocess.Popen[Any], asked_to_end: Callable[[], bool]) -> None:
    """Until the process ends by itself; raises KeyboardInterrupt when it is to end."""
    while True:
        try:
            process.wait(LOOK)
        except subprocess.TimeoutExpired:
            if asked_to_end():
                raise KeyboardInterrupt from None
        else:
            return


def end_with_parent() -> None:
    """Ends this process cleanly when the one that started it with `done_by` is gone."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    while os.read(0, 1):  # no sys.stdin, whose lock a forked loader process would inherit
        pass
    os.kill(os.getpid(), signal.SIGTERM)
