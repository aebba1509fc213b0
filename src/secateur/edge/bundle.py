"""Opens a bundle, a folder or a .zip, and trusts nothing in it: every path stays inside, every byte is as listed."""

from __future__ import annotations

import hashlib
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import msgspec

from secateur import plugins
from secateur.edge.predictor import Predictor, open_predictor
from secateur.errors import ExportError, SpecError
from secateur.manifest import LARGEST_JSON, MODELS, SAMPLES, Listed, Manifest, Packed, limited, read

if TYPE_CHECKING:
    from secateur.ports import Runtime

MANIFEST = "manifest.json"
USUAL_RUNTIME = "onnxruntime"  # of a model file that is no bundle's
LARGEST_BUNDLE = 4 * 2**30  # bytes, unpacked


@dataclass(frozen=True)
class Bundle:
    """A bundle that was checked; `digest` is its manifest's."""

    folder: Path
    manifest: Manifest
    digest: str

    def packed(self, name: str) -> Packed:
        """Raises ExportError where it holds no model of that name."""
        models = self.manifest.by_name
        if name not in models:
            known = f"{', '.join(models)}{plugins.nearest(name, models)}"
            raise ExportError(f"the bundle has no model {name!r}; there are {known}")
        return models[name]

    def model(self, name: str) -> Path:
        """The file, or folder, that the model's runtime opens."""
        return self.folder / self.packed(name).file

    @property
    def samples(self) -> list[Path]:
        """The pictures of the self-test."""
        return [self.folder / name for name in self.manifest.samples]

    def runtime(self, name: str) -> Runtime:
        """What runs the model, set as it was measured; raises SpecError where this version knows none such."""
        packed = self.packed(name)
        return runtime(packed.runtime, packed.runtime_fields)


def is_bundle(place: Path) -> bool:
    """Whether it looks like one."""
    return (place / MANIFEST).is_file() or (place.suffix == ".zip" and place.is_file())


@contextmanager
def opened(place: Path) -> Iterator[Bundle]:
    """The bundle, while it is used: a .zip is unpacked for as long; raises ExportError where it is not what it says."""
    if place.is_dir():
        yield _checked(place)
    elif zipfile.is_zipfile(place):
        with TemporaryDirectory(prefix="secateur-") as folder:
            _unpack(place, Path(folder))
            yield _checked(Path(folder))
    elif not place.exists():
        raise ExportError(f"no bundle {place} is there")
    else:
        raise ExportError(f"{place} is no bundle: neither a folder nor a .zip; make one: secateur bundle")


@contextmanager
def opened_predictor(
    place: Path, runtime_name: str | None, threads: int | None, **settings: Any
) -> Iterator[Predictor]:
    """Of a bundle what it selected, run as it was measured; of a model file, run by that runtime, so many threads."""
    if not is_bundle(place):
        values = {} if threads is None else {"threads": threads}
        yield open_predictor(place, runtime(runtime_name or USUAL_RUNTIME, values), **settings)
        return
    for option, value in (("--runtime", runtime_name), ("--threads", threads)):
        if value is not None:
            raise SpecError(f"{option}: {place} is a bundle, which runs as it was measured; leave out {option} {value}")
    with opened(place) as bundle:
        name, names = bundle.manifest.selected, bundle.manifest.names
        yield open_predictor(bundle.model(name), bundle.runtime(name), names=names, **settings)


def runtime(name: str, values: dict[str, Any]) -> Runtime:
    """A runtime by its name, set so; raises SpecError or ExportError where there is none such."""
    part = plugins.load("runtime", name)
    known = [field.name for field in fields(part)]
    if unknown := sorted(set(values) - set(known)):
        raise ExportError(f"runtime {name} has no setting {unknown[0]!r}; there are {', '.join(known)}")
    try:
        made: Runtime = msgspec.convert(values, part)
    except msgspec.ValidationError as error:
        raise ExportError(f"runtime {name} cannot be set so: {error}") from error
    return made


# ---- a folder ------------------------------------------------------------------------------------


def _checked(folder: Path) -> Bundle:
    try:
        return _as_listed(folder)
    except (OSError, RuntimeError) as error:  # RuntimeError: links that lead in a circle
        raise ExportError(f"cannot read the bundle {folder}: {error}") from error


def _as_listed(folder: Path) -> Bundle:
    raw = limited(folder / MANIFEST)
    manifest = read(raw, Manifest, folder / MANIFEST)
    for path, listed in manifest.files.items():
        _check_file(folder, path, listed)
    for strange in _unlisted(folder, manifest):
        raise ExportError(f"{strange} is not listed in the manifest; get the bundle anew, or take the file away")
    return Bundle(folder, manifest, hashlib.sha256(raw).hexdigest())


def _check_file(folder: Path, path: str, listed: Listed) -> None:
    place = folder / path
    if not place.resolve().is_relative_to(folder.resolve()):
        raise ExportError(f"{path} leads out of the bundle by a link; get the bundle anew")
    if not place.is_file():
        raise ExportError(f"{path} is missing from the bundle {folder}; get it anew")
    if place.stat().st_size != listed.size_bytes or digest(place) != listed.sha256:
        raise ExportError(f"{path} is not what was bundled (its sha256 differs); get the bundle anew")


def digest(path: Path) -> str:
    """sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unlisted(folder: Path, manifest: Manifest) -> Iterator[Path]:
    """A runtime that opens a folder might read them."""
    for part in (MODELS, SAMPLES):
        for path in sorted((folder / part).rglob("*")):
            is_file = path.is_symlink() or not path.is_dir()
            if is_file and path.relative_to(folder).as_posix() not in manifest.files:
                yield path


# ---- a .zip --------------------------------------------------------------------------------------


def _unpack(place: Path, folder: Path) -> None:
    """Only what the manifest lists, and no more bytes than it says."""
    try:
        with zipfile.ZipFile(place) as archive:
            members = {member.filename: member for member in archive.infolist()}
            _copy(archive, _member(members, MANIFEST, place), folder, LARGEST_JSON)
            files = read((folder / MANIFEST).read_bytes(), Manifest, place / MANIFEST).files
            _check_room(files, place, folder)
            for path, listed in files.items():
                _copy(archive, _member(members, path, place), folder, listed.size_bytes)
    # RuntimeError: it is encrypted; NotImplementedError, one of these: packed in a way that is not known
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, zlib.error, OSError, RuntimeError, ValueError) as error:
        raise ExportError(f"cannot unpack {place}: {error}") from error


def _member(members: dict[str, zipfile.ZipInfo], path: str, place: Path) -> zipfile.ZipInfo:
    member = members.get(path)
    if member is None:
        raise ExportError(f"{path} is missing from {place}; get it anew")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise ExportError(f"{path} in {place} is a link; get the bundle anew")
    return member


def _check_room(files: dict[str, Listed], place: Path, folder: Path) -> None:
    wanted = sum(max(listed.size_bytes, 0) for listed in files.values())
    free = min(LARGEST_BUNDLE, shutil.disk_usage(folder).free)
    if wanted > free:
        raise ExportError(f"{place} unpacks to {wanted / 1e6:.0f} MB, more than the {free / 1e6:.0f} MB it may have")


def _copy(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path, most: int) -> None:
    """The path was checked by the manifest; what the archive says of its size is not believed."""
    target = folder / PurePosixPath(member.filename)
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(member) as source, target.open("wb") as file:
        left = most + 1
        while left > 0 and (chunk := source.read(min(left, 2**20))):
            left -= file.write(chunk)
    if left == 0:
        raise ExportError(f"{member.filename} is larger than the {most} bytes that it may have; get the bundle anew")
