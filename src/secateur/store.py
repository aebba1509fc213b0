"""Content-addressed store of stage results: the same inputs are never paid for twice.

A result's key is the sha256 of canonical JSON of what made it. Its folder is written under a temporary name and
renamed when whole, under one lock a key; its files' digests are verified on every fetch.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import math
import os
import shutil
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from secateur import __version__, locking
from secateur.errors import BrokenOffError, SpecError, StageError
from secateur.results import Artifact

FORMAT = 1
"""Of the store's folder; raised when older versions would misread it. One that says none is of format 1."""

READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
FULL = (errno.ENOSPC, errno.EDQUOT)
NOT_FOR_FOLDERS = (errno.EINVAL, errno.ENOTSUP)

log = logging.getLogger(__name__)

T = TypeVar("T")
Turn = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True)
class Stored(Generic[T]):
    """A stage's outputs, and whether they were there already; `seconds` is what making them took."""

    outputs: T
    key: str
    reused: bool
    seconds: float


@dataclass(frozen=True)
class Meta:
    """`meta.json` of an entry: what it was made of, what came of it with paths from the entry, what that took."""

    identity: Any
    outputs: Any
    seconds: float


class DamagedError(StageError):
    """An entry is not what was published."""


class Store:
    """Results under `root/<stage>/<key>/`; safe for any number of processes on one file system.

    As long as it lives, nothing that it gave is removed by `housekeeping`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.runs = self.root / ".runs"
        self._opening = threading.Lock()
        self._run: locking.LiveRun | None = None

    def get(
        self, stage: str, identity: Any, kind: type[T], make: Callable[[Path], T], resumes: bool = False,
        turn: Turn = nullcontext,
    ) -> Stored[T]:  # fmt: skip
        """The stored outputs of `identity`, or those that `make(out)` writes now, published whole or not at all.

        A `make` that `resumes` finds what it had written into `out` when it was killed. It is held within a `turn`,
        the wait for which is not part of what making took.
        """
        key = digest_of(identity)
        entry = self.root / stage / key
        try:
            run = self._opened()
            with locking.held(self.lock_of(key)):
                run.relies_on(key)
                found = self._fetch(entry, kind) or self._publish(entry, identity, kind, make, resumes, turn)
                _mark_used(entry)
        except OSError as error:
            if error.errno in READ_ONLY and (there := _read(entry, kind)):
                return there
            raise StageError(f"{stage}: {self._told(error)}") from error
        return found

    def _told(self, error: OSError) -> str:
        """With the remedy, where it is the store's own place that refused; a stage may also fail to read its inputs."""
        places = [Path(os.fsdecode(place)) for place in (error.filename, error.filename2) if place is not None]
        if places and not any(place.is_relative_to(self.root) for place in places):
            return str(error)
        if error.errno in FULL:
            remedy = f"make room, for instance with secateur store gc --days 30 --outputs {self.root.parent}"
            return f"cannot write to the store at {self.root}: {error}; {remedy}, and start again: what is done stays"
        if error.errno in READ_ONLY:
            return f"cannot write to the store at {self.root}: {error}; take another folder with outputs=…"
        return f"cannot write to the store at {self.root}: {error}"

    def lock_of(self, key: str) -> Path:
        """Where its lock lies, which is held to make, fetch or remove the result."""
        return self.root / ".locks" / f"{key}.lock"

    def check_format(self) -> None:
        """Raises SpecError where a newer secateur made the store."""
        place = self.root / ".format"
        try:
            found = place.read_text().strip() or "1"  # written just before the power went
        except FileNotFoundError:
            return
        if not found.isdecimal():
            raise SpecError(f"{place} says {found[:40]!r}, which is no format; delete it if secateur made this store")
        if int(found) > FORMAT:
            raise SpecError(
                f"the store at {self.root} has format {found}, and secateur {__version__} reads up to {FORMAT}: "
                "pip install --upgrade secateur, or take another folder with outputs=…"
            )

    def _opened(self) -> locking.LiveRun:
        with self._opening:
            if self._run is None:
                self.check_format()
                (self.root / ".locks").mkdir(parents=True, exist_ok=True)
                self._say_format()
                self._run = locking.LiveRun(self.runs)
            return self._run

    def _say_format(self) -> None:
        with suppress(FileExistsError), (self.root / ".format").open("x") as file:
            file.write(f"{FORMAT}\n")

    def _fetch(self, entry: Path, kind: type[T]) -> Stored[T] | None:
        try:
            return _read(entry, kind)
        except DamagedError as damage:
            self.set_aside(entry)
            log.warning("store: %s: moved aside, made anew", damage)
            return None

    def set_aside(self, entry: Path) -> None:
        """Moves a damaged entry, whose key is locked, to where it hinders nobody."""
        aside = self.root / ".damaged" / f"{entry.parent.name}-{entry.name}-{uuid.uuid4().hex[:8]}"
        aside.parent.mkdir(parents=True, exist_ok=True)
        entry.rename(aside)
        os.utime(aside)

    def _publish(
        self, entry: Path, identity: Any, kind: type[T], make: Callable[[Path], T], resumes: bool, turn: Turn
    ) -> Stored[T]:
        out = self.root / ".tmp" / entry.name  # nobody else's: the key is locked
        if not resumes:
            shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True, exist_ok=True)
        try:
            with locking.signed(self.lock_of(entry.name), f"{entry.parent.name} {entry.name[:12]}"):
                with turn():
                    started = time.perf_counter()
                    outputs = make(out)
                    seconds = time.perf_counter() - started
                meta = Meta(canonical(identity), _encode(outputs, out), seconds)
                _write_down(meta, outputs, out)
                entry.parent.mkdir(parents=True, exist_ok=True)
                out.rename(entry)
                _sync_folder(entry.parent)
        except BaseException as error:
            can_go_on = isinstance(error, BrokenOffError | OSError) or not isinstance(error, Exception)
            if not (can_go_on and resumes):
                shutil.rmtree(out, ignore_errors=True)
            raise
        return Stored(_decode(meta.outputs, kind, entry), entry.name, reused=False, seconds=seconds)


def _read(entry: Path, kind: type[T]) -> Stored[T] | None:
    """None where there is no entry; raises DamagedError."""
    if not entry.exists():
        return None
    with _damage_told(entry):
        meta = read_meta(entry)
        outputs = _decode(meta.outputs, kind, entry)
        _check(artifacts(outputs))
    return Stored(outputs, entry.name, reused=True, seconds=meta.seconds)


def read_meta(entry: Path) -> Meta:
    """Raises OSError or MsgspecError where the entry has none, or not a whole one."""
    return msgspec.json.decode((entry / "meta.json").read_bytes(), type=Meta)


def verify(entry: Path) -> None:
    """Raises DamagedError unless all files of an entry have their digests, whatever stage it is of."""
    with _damage_told(entry):
        _check(_artifacts_in(read_meta(entry).outputs, entry))


@contextmanager
def _damage_told(entry: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, msgspec.MsgspecError, ValueError) as error:
        raise DamagedError(f"{entry.parent.name}/{entry.name[:12]} is damaged ({error})") from error


def _check(expected: list[Artifact]) -> None:
    for one in expected:
        if digest(one.path) != one.sha256:
            raise ValueError(one.path.name)


def _artifacts_in(plain: Any, root: Path) -> list[Artifact]:
    """Those of outputs as they are stored."""
    match plain:
        case {"path": str(path), "sha256": str(sha256), **others} if not others:
            return [Artifact(root / path, sha256)]
        case dict():
            return [a for value in plain.values() for a in _artifacts_in(value, root)]
        case list():
            return [a for value in plain for a in _artifacts_in(value, root)]
        case _:
            return []


def _write_down(meta: Meta, outputs: Any, out: Path) -> None:
    """Ends a result: after this, renaming its folder publishes it.

    A power failure must not leave a name without what it names, nor cost a training of hours: files and `meta.json`
    are on the disk before the folder is renamed. Not so the files inside a folder that is an artifact, thousands of
    pictures, where syncing each costs more than making it again; their digest tells if they were lost.
    """
    for made in artifacts(outputs):
        if made.path.is_file():
            _sync(made.path)
    (out / "meta.json").write_bytes(msgspec.json.encode(meta))
    _sync(out / "meta.json")
    _sync_folder(out)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Where the file system knows that."""
    try:
        _sync(folder)
    except OSError as error:
        if error.errno not in NOT_FOR_FOLDERS:
            raise


def last_used(entry: Path) -> float:
    """Seconds since 1970: when the entry was last given to a run, as its `meta.json`'s time of change."""
    try:
        return (entry / "meta.json").stat().st_mtime
    except (FileNotFoundError, NotADirectoryError):
        return entry.stat().st_mtime


def _mark_used(entry: Path) -> None:
    """Never backwards, should the clock have jumped; a mark that cannot be set, as in a store of somebody else's, does
    not fail the run."""
    with suppress(OSError):
        if last_used(entry) < time.time():
            os.utime(entry / "meta.json")


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
    """Bytes of a file, or of all files in a folder; links to files count for what they lead to, if that is there."""
    if path.is_file():
        return path.stat().st_size
    files = (os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)  # noqa: PTH118 - fast
    return sum(os.stat(file).st_size for file in files if os.path.isfile(file))  # noqa: PTH113, PTH116


def digest_of(value: Any) -> str:
    """sha256 of canonical JSON: sorted keys, artifacts by digest, dataclasses with their kind and VERSION.

    What Python holds for equal has the same key; raises SpecError for what a key cannot tell apart.
    """
    # json and not msgspec: how Python writes numbers is the same in all its versions
    plain = _keyable(canonical(value), "")
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _keyable(plain: Any, at: str) -> Any:
    """Numbers that are equal, be they written 1, 1.0 or -0.0, made alike."""
    match plain:
        case dict():
            return {key: _keyable(value, f"{at}.{key}") for key, value in plain.items()}
        case list():
            return [_keyable(value, f"{at}[{index}]") for index, value in enumerate(plain)]
        case float() if not math.isfinite(plain):
            raise SpecError(f"{at.lstrip('.')} is {plain}, by which no result can be found again; give a finite number")
        case float() if plain.is_integer():
            return int(plain)
        case str():
            return _encodable(plain, at)
        case _:
            return plain


def _encodable(text: str, at: str) -> str:
    """As it is, not normalized: a stage may tell é from e with an accent, as file systems do."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise SpecError(f"{at.lstrip('.')} is {text!r}, which is no UTF-8; rename it") from error
    return text


def canonical(value: Any) -> Any:
    """Plain JSON values that say all that matters about `value`; paths do not matter, and are refused."""
    if isinstance(value, Artifact):
        return value.sha256
    if is_dataclass(value) and not isinstance(value, type):
        content = [f for f in fields(value) if not f.metadata.get("place")]
        return {"kind": kind_of(type(value))} | {f.name: canonical(getattr(value, f.name)) for f in content}
    if isinstance(value, dict):
        return _canonical_dict(value)
    if isinstance(value, list | tuple):
        return [canonical(v) for v in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"{type(value).__name__} {value!r} has no canonical form: give its digest instead")


def _canonical_dict(value: dict[Any, Any]) -> dict[str, Any]:
    for key in value:
        if not isinstance(key, str | int) or isinstance(key, bool):
            raise TypeError(f"{type(key).__name__} {key!r} as a key has no canonical form: take a str or an int")
    # the number or text itself, as what str() makes of an enum has changed between Python's versions
    plain = {key if isinstance(key, str) else int.__repr__(key): canonical(v) for key, v in value.items()}
    if len(plain) != len(value):
        raise TypeError(f"keys {', '.join(map(repr, value))} have no canonical form: two of them are written alike")
    return plain


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
