"""A job of a sweep, in a process of its own: `python -m secateur.app.job <folder>`, where Hydra left its config.

What ends it, a signal or a fault of a library, ends no other job; and what it held is freed.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from secateur.interrupts import EXIT_CODE, end_with_parent, heeded
from secateur.switches import told

if TYPE_CHECKING:
    from secateur.ports import Sink

CANNOT_WRITE = os.EX_CANTCREAT
"""The exit code of a job that may have found nowhere to write what became of it."""


def nobody(folder: Path) -> Sequence[Sink]:
    """Who hears of a sweep's job, besides those that hear of every run."""
    return ()


def main(folder: Path, watchers_in: Callable[[Path], Sequence[Sink]] = nobody) -> int:
    """0; 2 where the job could not be done, CANNOT_WRITE where the disk was in the way, 130 where it was
    interrupted."""
    logging.raiseExceptions = False  # a log that does not fit on the disk either is no traceback
    try:
        with heeded():
            end_with_parent()
            return _do(folder, watchers_in)
    except KeyboardInterrupt:
        return EXIT_CODE


def _do(folder: Path, watchers_in: Callable[[Path], Sequence[Sink]]) -> int:
    # imported only now that an interrupt is heeded: it takes seconds
    from secateur.app.composing import in_one_line, order_in, set_up_logging
    from secateur.app.running import is_done, on_a_free_device, run_in_folder
    from secateur.errors import SecateurError

    order = order_in(folder)
    try:
        with in_one_line(), _alone_in(folder):
            set_up_logging(folder)
            if is_done(order, folder):  # by the one that was waited for
                return 0
            with on_a_free_device(order) as order:
                return 2 if run_in_folder(order, folder, watchers_in(folder)).status == "failed" else 0
    except SecateurError as error:
        sys.stderr.write(f"{told(error)}\n")
        return CANNOT_WRITE if isinstance(error.__cause__, OSError) else 2


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """A sweep that was killed may have left a job that goes on; whoever resumes the sweep waits for it."""
    from filelock import FileLock, Timeout

    from secateur.sweeps import LOCK

    lock = FileLock(folder / LOCK)
    try:
        held = lock.acquire(blocking=False)
    except Timeout:
        sys.stderr.write(f"secateur: {folder} is being worked on by another process; waiting for it\n")
        held = lock.acquire()
    with held:
        yield


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
