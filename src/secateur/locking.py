"""Who holds what in a folder that processes share, on one host or on several.

A `FileLock` is the kernel's flock. It ends with its process, however that ends, so nobody needs to guess whether a
holder is dead; NFS (v4, or v3 with its lock daemon) takes it to the server, which also ends those of a host that is
gone. Where a file system has no flock, filelock takes a file's existence for it, which outlives a dead process of
another host: who waits is told what to do. filelock's leases would pass a lock on while its last holder may still
write, and its strict locks would stay with every process that was killed.
"""

from __future__ import annotations

import logging
import os
import socket
import uuid
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

TELL_AFTER_SECONDS = 2.0
TELL_EVERY_SECONDS = 300.0
POLL_SECONDS = 0.1

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Holder:
    """What a process says of itself beside a lock: `since` is a moment with its time zone."""

    host: str
    pid: int
    since: str
    what: str


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Holds the lock; while somebody else does, waits, and after a while says for whom."""
    lock = FileLock(path, thread_local=False)  # no thread shares it
    _acquire(lock, path)
    try:
        _take_over(path)
        yield
    finally:
        lock.release()


@contextmanager
def held_if_free(path: Path) -> Iterator[bool]:
    """Holds the lock unless somebody else does; tells whether."""
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


@contextmanager
def signed(path: Path, what: str) -> Iterator[None]:
    """Tells those who wait for the lock, which is held, who holds it and for what."""
    since = datetime.now().astimezone().isoformat(timespec="seconds")
    _note(path).write_bytes(msgspec.json.encode(Holder(socket.gethostname(), os.getpid(), since, what)))
    try:
        yield
    finally:
        _note(path).unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Deletes a lock that is held; who waits for it makes it anew, since filelock looks whether what it got still has
    a name."""
    _note(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _acquire(lock: FileLock, path: Path) -> None:
    patience = TELL_AFTER_SECONDS
    while True:
        try:
            lock.acquire(timeout=patience, poll_interval=POLL_SECONDS)
            return
        except Timeout:
            log.warning("store: %s", _waits_for(_read(path), path))
            patience = TELL_EVERY_SECONDS


def _waits_for(holder: Holder | None, path: Path) -> str:
    if holder is None:
        return "waiting for another process, which looks at the same result"
    line = (
        f"waiting for {holder.what}, which process {holder.pid} on {holder.host} has been making since {holder.since}"
    )
    if holder.host == socket.gethostname():
        return line
    return f"{line}; if that host is gone for good, delete {path}"


def _take_over(path: Path) -> None:
    """What a holder that died left beside the lock."""
    holder = _read(path)
    if holder is None:
        return
    if holder.host != socket.gethostname():
        log.warning(
            "store: taking over %s from process %d on %s, which had it since %s: if it still runs there, locks do not "
            "reach from host to host here (NFS mounted with nolock?), and hosts must not share this store",
            holder.what, holder.pid, holder.host, holder.since,
        )  # fmt: skip
    _note(path).unlink(missing_ok=True)


def _read(path: Path) -> Holder | None:
    """None where nobody signed, or only half as yet."""
    with suppress(FileNotFoundError, msgspec.MsgspecError):
        return msgspec.json.decode(_note(path).read_bytes(), type=Holder)
    return None


def _note(path: Path) -> Path:
    return path.with_suffix(".json")


class LiveRun:
    """A run as others see it: alive while it holds its lock, with the keys of the results that it relies on.

    No clock decides what is in use, nor does anybody need to tell that a run has ended.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        place = folder / f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.lock"
        self._lock = FileLock(place, thread_local=False)
        self._lock.acquire()
        self._keys = _keys(place)
        weakref.finalize(self, _leave, self._lock, place, os.getpid())

    def relies_on(self, key: str) -> None:
        """Names a result; from here on, as long as the run lives, it is in use."""
        with self._keys.open("a") as file:  # closed at once: that is when NFS shows it to other hosts
            file.write(f"{key}\n")


def _leave(lock: FileLock, place: Path, pid: int) -> None:
    if os.getpid() == pid:  # not in a process that was forked off
        with suppress(OSError):
            _keys(place).unlink(missing_ok=True)
            remove(place)
        lock.release()


def _keys(place: Path) -> Path:
    return place.with_suffix(".keys")


def relied_on(folder: Path) -> set[str]:
    """The keys that runs named whose locks lie in the folder; final for a key whose lock is held."""
    keys: set[str] = set()
    for place in folder.glob("*.keys"):
        with suppress(FileNotFoundError):  # that run has just ended
            keys.update(place.read_text().split())
    return keys


def clear_dead_runs(folder: Path) -> None:
    """Removes what is left of runs that have ended without a word."""
    for place in folder.glob("*.lock"):
        with held_if_free(place) as dead:
            if dead:
                _keys(place).unlink(missing_ok=True)
                remove(place)
