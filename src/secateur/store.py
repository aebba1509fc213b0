"""Content-addressed store of stage results: the same inputs are never paid for twice.

A result's key is the sha256 of canonical JSON of what made it. Its folder is written under a temporary name and
renamed when whole, under one lock a key; its files' digests are verified on every fetch.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
from filelock import FileLock

from secateur.errors import BrokenOffError, StageError
from secateur.results import Artifact

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Stored(Generic[T]):
    """A stage's outputs, and whether they were there already; `seconds` is what making them took."""

    outputs: T
    key: str
    reused: bool
    seconds: float


class Store:
    """Results under `root/<stage>/<key>/`; safe for any number of processes on one file system."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def get(
        self, stage: str, identity: Any, kind: type[T], make: Callable[[Path], T], resumes: bool = False
    ) -> Stored[T]:
        """The stored outputs of `identity`, or those that `make(out)` writes now, published whole or not at all.

        A `make` that `resumes` finds what it had written into `out` when it was killed.
        """
        key = digest_of(identity)
        entry = self.root / stage / key
        try:
            with self._lock(key):
                found = self._fetch(entry, kind) or self._publish(entry, identity, kind, make, resumes)
        except OSError as error:
            raise StageError(f"{stage}: cannot write to the store at {self.root}: {error}") from error
        return Stored(found.outputs, key, found.reused, found.seconds)

    def _lock(self, key: str) -> FileLock:
        locks = self.root / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        return FileLock(locks / f"{key}.lock")

    def _fetch(self, entry: Path, kind: type[T]) -> Stored[T] | None:
        if not entry.exists():
            return None
        try:
            meta = msgspec.json.decode((entry / "meta.json").read_bytes())
            outputs, seconds = _decode(meta["outputs"], kind, entry), meta["seconds"]
            damaged = [a.path.name for a in artifacts(outputs) if digest(a.path) != a.sha256]
        except (OSError, msgspec.MsgspecError, KeyError, TypeError) as error:
            damaged = [str(error)]
        if damaged:
            self._set_aside(entry, damaged[0])
            return None
        return Stored(outputs, entry.name, reused=True, seconds=seconds)

    def _set_aside(self, entry: Path, what: str) -> None:
        aside = self.root / ".damaged" / f"{entry.parent.name}-{entry.name}-{uuid.uuid4().hex[:8]}"
        aside.parent.mkdir(parents=True, exist_ok=True)
        entry.rename(aside)
        log.warning("store: %s/%s is damaged (%s): moved aside, made anew", entry.parent.name, entry.name[:12], what)

    def _publish(
        self, entry: Path, identity: Any, kind: type[T], make: Callable[[Path], T], resumes: bool
    ) -> Stored[T]:
        out = self.root / ".tmp" / entry.name  # nobody else's: the key is locked
        if not resumes:
            shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True, exist_ok=True)
        try:
            started = time.perf_counter()
            outputs = make(out)
            seconds = time.perf_counter() - started
            plain = _encode(outputs, out)
            meta = {"identity": canonical(identity), "outputs": plain, "seconds": seconds}
            (out / "meta.json").write_bytes(msgspec.json.encode(meta))
            entry.parent.mkdir(parents=True, exist_ok=True)
            out.rename(entry)
        except BaseException as error:
            interrupted = isinstance(error, BrokenOffError) or not isinstance(error, Exception)
            if not (interrupted and resumes):
                shutil.rmtree(out, ignore_errors=True)
            raise
        return Stored(_decode(plain, kind, entry), entry.name, reused=False, seconds=seconds)


def artifact(path: Path) -> Artifact:
    """The file or folder with its digest."""
    return Artifact(path, digest(path))


def digest(path: Path) -> str:
    """sha256 of a file's content, or of a folder's names and contents; links are followed."""
    if path.is_dir():
        return _tree_digest(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tree_digest(root: Path) -> str:
    lines = [
        f"{(Path(folder) / name).relative_to(root).as_posix()} {digest(Path(folder) / name)}"
        for folder, _, files in os.walk(root, followlinks=True)
        for name in files
    ]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def digest_of(value: Any) -> str:
    """sha256 of canonical JSON: sorted keys, artifacts by digest, dataclasses with their kind and VERSION."""
    return hashlib.sha256(msgspec.json.encode(canonical(value), order="sorted")).hexdigest()


def canonical(value: Any) -> Any:
    """Plain JSON values that say all that matters about `value`; paths do not matter, and are refused."""
    if isinstance(value, Artifact):
        return value.sha256
    if is_dataclass(value) and not isinstance(value, type):
        content = [f for f in fields(value) if not f.metadata.get("place")]
        return {"kind": kind_of(type(value))} | {f.name: canonical(getattr(value, f.name)) for f in content}
    if isinstance(value, dict):
        return {str(k): canonical(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(v) for v in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"{type(value).__name__} {value!r} has no canonical form: give its digest instead")


def kind_of(cls: type) -> str:
    """A value's kind with the VERSION of its module, where that says one: `Int8Static@3`."""
    version = getattr(sys.modules[cls.__module__], "VERSION", None)
    return cls.__name__ if version is None else f"{cls.__name__}@{version}"


def artifacts(value: Any) -> list[Artifact]:
    """All artifacts inside a value."""
    if isinstance(value, Artifact):
        return [value]
    if is_dataclass(value) and not isinstance(value, type):
        return [a for f in fields(value) for a in artifacts(getattr(value, f.name))]
    if isinstance(value, dict):
        return [a for v in value.values() for a in artifacts(v)]
    if isinstance(value, list | tuple):
        return [a for v in value for a in artifacts(v)]
    return []


def _encode(outputs: Any, root: Path) -> Any:
    def relative(value: Any) -> str:
        if isinstance(value, Path):
            return value.relative_to(root).as_posix()
        raise TypeError(f"cannot store {type(value).__name__}")

    return msgspec.to_builtins(outputs, enc_hook=relative)


def _decode(plain: Any, kind: type[T], root: Path) -> T:
    def below(cls: type, value: Any) -> Any:
        if issubclass(cls, Path):
            return root / value
        raise TypeError(f"cannot read {cls.__name__}")

    return msgspec.convert(plain, kind, dec_hook=below)
