"""What jobs that run side by side on one machine owe each other.

Stages that compute share the machine, one that takes the clock has it alone. Of the devices that are named for all of
them, each job takes one that is free.
"""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, ReadWriteLock, Timeout

from secateur.errors import StageError

PATIENCE = 5.0
"""Seconds that a job waits before it says so."""

ATTEMPT = 0.5  # seconds; a wait inside SQLite, which is what holds the lock, hears no Ctrl-C

T = TypeVar("T")

log = logging.getLogger(__name__)


class SharedMachine:
    """For any number of processes that name the same folder, which no other machine may see; a hold dies with its
    process.

    Who wants the machine alone keeps the gate while it waits for those inside to leave, so that nobody new gets in.
    """

    def __init__(self, folder: Path) -> None:
        """Raises StageError where the folder cannot be, or is somebody else's."""
        self.folder = folder
        with self._refused_in_one_line():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if folder.stat().st_uid != os.getuid():
                raise PermissionError(errno.EACCES, "the folder is another user's", str(folder))

    @contextmanager
    def _refused_in_one_line(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise StageError(
                f"jobs of this machine cannot meet in {self.folder}: {error}; make room there, or set TMPDIR"
            ) from error

    @contextmanager
    def shared(self) -> Iterator[None]:
        with self._room() as room:
            self._enter(room.acquire_read, "a job that takes the clock has this machine alone")
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._room() as room:
            self._enter(room.acquire_write, "other jobs on this machine would disturb the clock until their stages end")
            yield

    @contextmanager
    def device(self, slots: Sequence[str]) -> Iterator[str]:
        """One of `slots` that is free, and ours as long as it is held; a slot may be several devices, `0,1`, and a
        device that is named twice is for two jobs."""
        places = list(self._places(slots))

        def take(seconds: float) -> tuple[str, ExitStack]:
            for slot, locks in zip(slots, places, strict=True):
                with suppress(Timeout), ExitStack() as held:
                    for lock in locks:
                        held.enter_context(lock.acquire(seconds / len(slots)))
                    return slot, held.pop_all()
            raise Timeout(str(self.folder))

        with self._refused_in_one_line():
            slot, held = Wait(f"no device of {' '.join(slots)} is free").until(take)
        with held:
            yield slot

    def _places(self, slots: Sequence[str]) -> Iterator[list[FileLock]]:
        """Of each slot the locks of its devices, in an order that is the same for all."""
        named: Counter[str] = Counter()
        for slot in slots:
            devices = sorted(slot.split(","))
            yield [FileLock(self.folder / f"device-{d.replace(':', '-')}-{named[d]}.lock") for d in devices]
            named.update(devices)

    def _room(self) -> closing[ReadWriteLock]:
        return closing(ReadWriteLock(self.folder / "machine.lock", is_singleton=False))

    def _enter(self, acquire: Callable[[float], object], why: str) -> None:
        gate, wait = FileLock(self.folder / "gate.lock"), Wait(why)
        with self._refused_in_one_line():
            wait.until(gate.acquire)
            try:
                wait.until(acquire)
            finally:
                gate.release()


class Wait:
    """For a lock, interruptibly; says once why it takes long."""

    def __init__(self, why: str) -> None:
        self.why, self.began, self.silent = why, time.monotonic(), True

    def until(self, acquire: Callable[[float], T]) -> T:
        """`acquire(seconds)` raises Timeout where it was not enough."""
        while True:
            try:
                return acquire(ATTEMPT)
            except Timeout:
                self._say()

    def _say(self) -> None:
        if self.silent and time.monotonic() - self.began >= PATIENCE:
            self.silent = False
            log.warning("waiting: %s", self.why)
