"""What lies in a store, whether it is whole, and what of it nobody needs any more.

Entries are looked at one after the other, so that memory does not grow with their number.
"""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from secateur import locking
from secateur.errors import SpecError, StageError
from secateur.plugins import nearest
from secateur.records import records_in
from secateur.store import DamagedError, Store, last_used, read_meta, size, verify

UNFINISHED, DAMAGED, LOCKS = ".tmp", ".damaged", ".locks"
GONE_ALREADY = "(gone)"
GONE = "gone-"
"""Begins the names of entries in `.tmp` that are being removed."""
FEWEST_DIGITS = 4
SECONDS_A_DAY = 86_400
REMOVERS, BATCH = 4, 256


@dataclass(frozen=True)
class Entry:
    """A stored result; times are in seconds since 1970, `seconds` is what making it took, None where it does not say
    so."""

    stage: str
    key: str
    size_bytes: int
    made: float
    used: float
    seconds: float | None


@dataclass(frozen=True)
class Total:
    """Of the entries of one stage."""

    entries: int = 0
    size_bytes: int = 0
    seconds: float = 0.0

    def __add__(self, other: Total) -> Total:
        seconds = self.seconds + other.seconds
        return Total(self.entries + other.entries, self.size_bytes + other.size_bytes, seconds)


@dataclass(frozen=True)
class Details:
    """All about one entry: its files with their bytes, from its folder; the runs whose records name it."""

    entry: Entry
    version: int
    libraries: dict[str, str]
    inputs: Any
    outputs: Any
    files: dict[str, int]
    runs: tuple[Path, ...]


@dataclass(frozen=True)
class Waste:
    """What nobody needs; `kind` is a stage, or one of the store's own folders."""

    kind: str
    path: Path
    size_bytes: int


@contextmanager
def opened(outputs: Path) -> Iterator[Store]:
    """The store of these outputs; raises SpecError where there is none, or a newer secateur's, and StageError where the
    file system refuses what is done to it."""
    store = Store(outputs / "store")
    if not store.root.is_dir():
        raise SpecError(f"no store at {store.root}; name the folder that runs write to with --outputs")
    store.check_format()
    try:
        yield store
    except OSError as error:
        raise StageError(f"cannot look after the store at {store.root}: {error}") from error


# ---- what there is ------------------------------------------------------------------------------


def totals(store: Store) -> dict[str, Total]:
    """By stage; what is unfinished and what is damaged under the names of their folders, where there is any."""
    found = {stage: sum(map(_total, entries(store, stage)), Total()) for stage in stages(store)}
    for folder in (UNFINISHED, DAMAGED):
        found[folder] = sum((Total(1, _bytes(path)) for path in _listed(store.root / folder)), Total())
    return {name: total for name, total in found.items() if total.entries}


def needed_by(store: Store, folder: Path) -> dict[str, Total]:
    """By stage, what the records of a run name, or those of all runs in the folder; `(gone)` are those that the store
    has no more. Raises SpecError where nothing is recorded."""
    keys = {(record["stage"], record["key"]) for run in _runs_in(folder) for record in records_in(run)}
    if not keys:
        raise SpecError(f"no run has recorded anything in {folder}")
    found: dict[str, Total] = {}
    for stage, key in keys:
        path = store.root / stage / key
        name, total = (stage, _total(_entry(path))) if path.is_dir() else (GONE_ALREADY, Total(1))
        found[name] = found.get(name, Total()) + total
    return found


def _runs_in(folder: Path) -> Iterator[Path]:
    """Folders of runs, at any depth."""
    return (path.parent for path in folder.rglob("records.jsonl"))


def _total(entry: Entry) -> Total:
    return Total(1, entry.size_bytes, entry.seconds or 0.0)


def _bytes(path: Path) -> int:
    """0 where it changes meanwhile."""
    try:
        return size(path)
    except FileNotFoundError:
        return 0


def stages(store: Store) -> list[str]:
    """Names of those that the store has results of, sorted."""
    return sorted(path.name for path in _listed(store.root) if path.is_dir() and not path.name.startswith("."))


def entries(store: Store, stage: str) -> Iterator[Entry]:
    """Raises SpecError where the store has nothing of such a stage."""
    if stage not in (known := stages(store)):
        there = f"{', '.join(known) or 'none'}{nearest(stage, known)}"
        raise SpecError(f"nothing of a stage {stage!r} in {store.root}; there are {there}")
    for path in _listed(store.root / stage):
        with suppress(FileNotFoundError):  # it has just gone
            yield _entry(path)


def _entry(path: Path) -> Entry:
    try:
        seconds = read_meta(path).seconds
    except (OSError, msgspec.MsgspecError):
        seconds = None
    # a folder's own time is that of the last file that was put into it
    return Entry(path.parent.name, path.name, size(path), path.stat().st_mtime, last_used(path), seconds)


def _listed(folder: Path) -> Iterator[Path]:
    """In no order, and without holding all names at once."""
    if folder.is_dir():
        with os.scandir(folder) as found:
            for each in found:
                yield Path(each.path)


def _paths(store: Store) -> Iterator[Path]:
    """Of all entries."""
    for stage in stages(store):
        yield from _listed(store.root / stage)


# ---- one of them --------------------------------------------------------------------------------


def details(store: Store, prefix: str, outputs: Path) -> Details:
    """Of the one entry whose key begins so; raises SpecError where there is none, or more than one."""
    path = _one(store, prefix)
    try:
        meta = read_meta(path)
        _, version, libraries, inputs = meta.identity
    except (OSError, msgspec.MsgspecError, ValueError, TypeError) as error:
        raise SpecError(f"{path} does not say what it is ({error}); secateur store verify moves it aside") from error
    files = {file.relative_to(path).as_posix(): size(file) for file in sorted(path.rglob("*")) if file.is_file()}
    runs = tuple(sorted(_naming(path.name, outputs)))
    return Details(_entry(path), version, libraries, inputs, meta.outputs, files, runs)


def _one(store: Store, prefix: str) -> Path:
    if len(prefix) < FEWEST_DIGITS:
        raise SpecError(f"{prefix!r} is too short for a key; give at least {FEWEST_DIGITS} of its digits")
    found = [path for path in _paths(store) if path.name.startswith(prefix)]
    if not found:
        raise SpecError(f"no entry {prefix!r} in {store.root}; secateur store ls --stage NAME lists those of a stage")
    if len(found) > 1:
        named = ", ".join(sorted(f"{path.parent.name}/{path.name}" for path in found)[:3])
        raise SpecError(
            f"{len(found)} entries begin with {prefix!r}: {named}{', …' * (len(found) > 3)}; give more digits"
        )
    return found[0]


def _naming(key: str, outputs: Path) -> Iterator[Path]:
    """Folders of runs whose records name the key."""
    for folder, below, files in os.walk(outputs):
        if "records.jsonl" in files and _names(Path(folder) / "records.jsonl", key):
            yield Path(folder)
        below[:] = [name for name in below if name != "store"]


def _names(records: Path, key: str) -> bool:
    with records.open("rb") as lines:
        return any(key.encode() in line for line in lines)


# ---- whole or not -------------------------------------------------------------------------------


def verified(store: Store, progress: Callable[[int, int], None]) -> Iterator[str]:
    """Looks at the digests of all entries; what is damaged is moved aside, and told in a line."""
    count = sum(1 for _ in _paths(store))
    for done, path in enumerate(_paths(store), start=1):
        with locking.held(store.lock_of(path.name)):
            try:
                if path.exists():
                    verify(path)
            except DamagedError as damage:
                store.set_aside(path)
                yield f"{damage}: moved aside, into {store.root / DAMAGED}; it is made anew when it is needed"
        progress(done, count)


# ---- what nobody needs --------------------------------------------------------------------------


def cutoff(days: float) -> float:
    """The moment so many days ago, in seconds since 1970."""
    return time.time() - days * SECONDS_A_DAY


def waste(store: Store, before: float) -> Iterator[Waste]:
    """What no run has used since that moment, and none that is alive relies on: entries, what dead builders left, what
    was moved aside, and locks of results that are gone."""
    locking.clear_dead_runs(store.runs)
    needed = locking.relied_on(store.runs)
    for path in _paths(store):
        if _is_unused(path, needed, before):
            yield Waste(path.parent.name, path, _bytes(path))
    for path in _listed(store.root / UNFINISHED):
        if _is_abandoned(store, path, before):
            yield Waste(UNFINISHED, path, _bytes(path))
    for path in _listed(store.root / DAMAGED):
        if path.stat().st_mtime < before:
            yield Waste(DAMAGED, path, _bytes(path))
    for path in _listed(store.root / LOCKS):
        if path.suffix == ".lock" and not _is_known(store, path.stem) and _is_free(store, path.stem):
            yield Waste(LOCKS, path, 0)


def collected(store: Store, before: float) -> Iterator[Waste]:
    """The same, gone as it is told; what is in use by then is left."""
    with locking.held_if_free(store.root / ".gc.lock") as alone:
        if not alone:
            raise SpecError(f"another secateur store gc is at work in {store.root}; wait for it")
        (store.root / UNFINISHED).mkdir(exist_ok=True)
        found = waste(store, before)
        with ThreadPoolExecutor(REMOVERS) as pool:  # file systems are slow to remove a folder, and fast to remove many
            while batch := list(islice(found, BATCH)):
                shares = (batch[first::REMOVERS] for first in range(REMOVERS))
                for gone in pool.map(lambda share: [each for each in share if _removed(store, each, before)], shares):
                    yield from gone


def summed(found: Iterable[Waste]) -> dict[str, Total]:
    """By kind."""
    sums: dict[str, Total] = {}
    for each in found:
        sums[each.kind] = sums.get(each.kind, Total()) + Total(1, each.size_bytes)
    return sums


def _is_unused(entry: Path, needed: set[str], before: float) -> bool:
    try:
        return entry.name not in needed and last_used(entry) < before
    except FileNotFoundError:  # it has just been moved aside
        return False


def _is_abandoned(store: Store, path: Path, before: float) -> bool:
    """Left in `.tmp` by a builder that died; kept for a while, as one that resumes would go on from there."""
    return path.name.startswith(GONE) or (_newest(path) < before and _is_free(store, path.name))


def _newest(path: Path) -> float:
    """When something in a folder changed last."""
    try:
        return max(each.lstat().st_mtime for each in (path, *path.rglob("*")))
    except FileNotFoundError:  # just now
        return time.time()


def _is_free(store: Store, key: str) -> bool:
    with locking.held_if_free(store.lock_of(key)) as free:
        return free


def _is_known(store: Store, key: str) -> bool:
    """Whether there is a result of this key, or the beginning of one."""
    return any((store.root / folder / key).exists() for folder in (*stages(store), UNFINISHED))


def _removed(store: Store, found: Waste, before: float) -> bool:
    if found.kind == DAMAGED or found.path.name.startswith(GONE):
        _delete(found.path)
        return True
    key = found.path.stem
    with locking.held_if_free(store.lock_of(key)) as free:
        return free and _removed_locked(store, found, key, before)


def _removed_locked(store: Store, found: Waste, key: str, before: float) -> bool:
    """With the key's lock held, so that nobody begins to use it: looks once more."""
    if found.kind == LOCKS:
        unneeded = not _is_known(store, key)
    elif found.kind == UNFINISHED:
        if unneeded := _newest(found.path) < before:
            _delete(found.path)
    elif unneeded := _is_unused(found.path, locking.relied_on(store.runs), before):
        _unpublish(store, found.path)
    if unneeded:
        locking.remove(store.lock_of(key))
    return unneeded


def _unpublish(store: Store, entry: Path) -> None:
    """Whole or not at all, as it was published."""
    gone = store.root / UNFINISHED / f"{GONE}{entry.name}-{uuid.uuid4().hex[:8]}"
    entry.rename(gone)
    _delete(gone)


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
