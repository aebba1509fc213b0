"""Clean ends: the first Ctrl-C, or SIGTERM, lets what is going on finish its record; a second Ctrl-C stops at once."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psutil

EXIT_CODE = 130
"""Of a command that was interrupted, as shells have it: 128 + SIGINT."""

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGINT, signal.SIGTERM)

LOOK_EVERY_SECONDS = 0.5
ENDS_WITHIN_SECONDS = 10
"""A server that is asked to."""


@dataclass
class Interrupts:
    """Whether an end was asked for."""

    asked: bool = False
    _raises: bool = True
    _when_asked: Callable[[], object] = lambda: None

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """Within it the first interrupt is only noted, so that what has begun is whole; a second stops at once."""
        with self._raising(False):
            yield

    @contextmanager
    def raised(self) -> Iterator[None]:
        """Within what is held back: where an interrupt, also one that was noted before, is raised."""
        with self._raising(True):
            self.check()
            yield

    def check(self) -> None:
        """Raises an interrupt that was only noted."""
        if self.asked:
            raise KeyboardInterrupt

    @contextmanager
    def handed_on(self, tell: Callable[[], object]) -> Iterator[None]:
        """Held back, as others do the work: `tell` is called at the first interrupt. Processes that are started within
        it are deaf to a terminal's Ctrl-C, which reaches them too; `heeded` opens their ears."""
        self._when_asked = tell
        heard, over = threading.Event(), threading.Event()
        listener = threading.Thread(target=_listen, args=(heard, over), daemon=True)
        listener.start()
        heard.wait()
        try:
            with self.held_back(), _deaf():
                yield
        finally:
            over.set()
            listener.join()
            self._when_asked = lambda: None

    @contextmanager
    def _raising(self, raises: bool) -> Iterator[None]:
        before, self._raises = self._raises, raises
        try:
            yield
        finally:
            self._raises = before

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Of SIGTERM only the first counts: a group and a parent that hands it on may both be sent the same one."""
        if not self.asked:
            self.asked = True
            try:
                self._when_asked()
            except OSError as error:  # a full disk: no reason to leave the others without their ends
                log.warning("cannot tell the others to end: %s", error)
                end_all_below()
            if self._raises:
                raise KeyboardInterrupt
        elif number == signal.SIGINT:
            stop_at_once()


@contextmanager
def heeded() -> Iterator[Interrupts]:
    """Within it the first SIGINT or SIGTERM raises KeyboardInterrupt in the main thread, and a second SIGINT ends the
    process and all that it started; what is within another `heeded` shares its Interrupts."""
    outer = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    if isinstance(outer, Interrupts):
        yield outer
    elif threading.current_thread() is not threading.main_thread():  # where signals are handled
        yield Interrupts()
    else:
        with _handled() as interrupts:
            yield interrupts


@contextmanager
def _handled() -> Iterator[Interrupts]:
    interrupts = Interrupts()
    before = {number: signal.getsignal(number) for number in SIGNALS}
    deaf = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        for number, handler in before.items():
            if handler != signal.SIG_IGN:  # as a shell has it for what it starts in the background
                signal.signal(number, interrupts._handle)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # one that waited is raised here
        yield interrupts
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, deaf)
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _deaf() -> Iterator[None]:
    """This thread, and what it starts, is not sent the signals; they wait where no other thread takes them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _listen(heard: threading.Event, over: threading.Event) -> None:
    """A thread that takes the signals for a deaf main thread, which then runs their handlers between two steps."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    heard.set()
    over.wait()


def end_all_below() -> None:
    """Lets all processes that this one started, however deep, end as by one Ctrl-C."""
    for process in _descendants():
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)


def stop_at_once() -> None:
    """Ends this process and all that it started, however deep; nothing is finished."""
    for process in _descendants():
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    os._exit(EXIT_CODE)


def _descendants() -> list[psutil.Process]:
    """None on a device, which has no psutil: what is started there ends with whoever started it."""
    if not find_spec("psutil"):
        return []
    import psutil

    below: list[psutil.Process] = psutil.Process().children(recursive=True)
    return below


def done_by(
    command: list[str],
    output: IO[str] | None,
    place: Path | None = None,
    asked_to_end: Callable[[], bool] = lambda: False,
) -> int:
    """Runs the command in the folder `place` to its end; its exit code, negative where a signal ended it.

    An interrupt, or `asked_to_end`, is handed on to it, and raised here when it has ended. It is in a process group of
    its own, so that a terminal's Ctrl-C reaches it once, and its standard input is a life line (`end_with_parent`). It
    must be one that is `heeded`: until then it hears no interrupt.
    """
    options: dict[str, Any] = {"cwd": place}
    if output:
        options |= {"stdout": output, "stderr": subprocess.STDOUT}
    (code,) = _done([command], options, asked_to_end)
    return code


def done_side_by_side(commands: list[list[str]], threads: int) -> list[int]:
    """Runs the commands at once, each as `done_by` does and told to use so many threads, unless OMP_NUM_THREADS says
    how many; their exit codes."""
    return _done(commands, {"env": {"OMP_NUM_THREADS": str(threads)} | os.environ})


def _done(
    commands: list[list[str]], options: dict[str, Any], asked_to_end: Callable[[], bool] = lambda: False
) -> list[int]:
    with heeded() as interrupts, interrupts.held_back(), ExitStack() as stack:
        interrupts.check()
        with _deaf():  # until they heed them: a Python that is only starting would end with a traceback
            processes = [
                stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, process_group=0, **options))
                for command in commands
            ]
        try:
            with interrupts.raised():
                for process in processes:
                    _wait(process, asked_to_end)
        except KeyboardInterrupt:
            for process in processes:
                process.send_signal(signal.SIGTERM)
            for process in processes:
                _wait(process)
            raise
        interrupts.check()
    return [process.returncode for process in processes]


def served_by(command: list[str], environment: Mapping[str, str]) -> int:
    """Runs a command that heeds nothing of this, to its end; its exit code.

    An interrupt ends it and all that it started, and is raised here when they have ended. It is in a process group of
    its own, which a terminal's Ctrl-C does not reach.
    """
    with heeded() as interrupts, interrupts.held_back():
        interrupts.check()
        with subprocess.Popen(command, env=environment, process_group=0) as process:
            try:
                with interrupts.raised():
                    _wait(process)
            except KeyboardInterrupt:
                _end_group(process.pid)
                raise
    return process.returncode


def _end_group(number: int) -> None:
    """Asks all its processes to end, and ends those that are slow to."""
    import psutil

    below = _descendants()
    with suppress(ProcessLookupError):
        os.killpg(number, signal.SIGTERM)
    _, slow = psutil.wait_procs(below, ENDS_WITHIN_SECONDS)
    for process in slow:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _wait(process: subprocess.Popen[Any], asked_to_end: Callable[[], bool] = lambda: False) -> None:
    """By looks: within `handed_on`, and once MLflow has opened a database, a signal wakes this thread from no longer
    wait."""
    while process.returncode is None:
        if asked_to_end():
            raise KeyboardInterrupt
        with suppress(subprocess.TimeoutExpired):
            process.wait(LOOK_EVERY_SECONDS)


def end_with_parent() -> None:
    """Ends this process cleanly when the one that started it with `done_by` is gone."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    while os.read(0, 1):  # no sys.stdin, whose lock a forked loader process would inherit
        pass
    os.kill(os.getpid(), signal.SIGTERM)
