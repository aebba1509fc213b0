"""What jobs that run side by side on one machine owe each other.

Stages that compute share the machine, one that takes the clock has it alone. Of the devices that are named for all of
them, each job takes one that is free.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, ReadWriteLock, Timeout

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
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

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
        """One of `slots` that is free, and ours as long as it is held; one that is named twice is for two jobs."""
        places = [(device, self._place(device, slots[:number].count(device))) for number, device in enumerate(slots)]

        def take(seconds: float) -> tuple[str, FileLock]:
            for device, place in places:
                with suppress(Timeout):
                    place.acquire(seconds / len(places))
                    return device, place
            raise Timeout(str(self.folder))

        device, place = Wait(f"no device of {', '.join(slots)} is free").until(take)
        try:
            yield device
        finally:
            place.release()

    def _place(self, device: str, nth: int) -> FileLock:
        return FileLock(self.folder / f"device-{device.replace(':', '-')}-{nth}.lock")

    def _room(self) -> closing[ReadWriteLock]:
        return closing(ReadWriteLock(self.folder / "machine.lock", is_singleton=False))

    def _enter(self, acquire: Callable[[float], object], why: str) -> None:
        gate, wait = FileLock(self.folder / "gate.lock"), Wait(why)
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
