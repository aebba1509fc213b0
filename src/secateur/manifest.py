"""What a bundle says of itself, and what a device found out with it: frozen values, checked where they are read."""

from __future__ import annotations

import hashlib
import re
from dataclasses import astuple, dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeVar

import msgspec

from secateur import __version__
from secateur.errors import ExportError, require
from secateur.results import Accuracy, AccuracyChange, EndToEnd, Fingerprint, Interval, Percentiles

FORMAT = 1
"""Of `manifest.json` and of what a device writes; raised when older versions would misread either."""

LARGEST_JSON = 64 * 2**20  # bytes

MODELS, SAMPLES = "models", "samples"
"""Folders of a bundle in which nothing may lie that the manifest does not list."""

DEVICES = "devices"
"""Where in a run's folder lies what devices found out about it."""

NAME = re.compile(r"\w[\w.+-]*")
"""Of a candidate or a run, which names files and metrics."""
RUN = re.compile(r"\w[\w.+-]*(/\w[\w.+-]*)?")
"""Of a run's id: its folder's name, after its sweep's where it is one of many."""


@dataclass(frozen=True)
class Listed:
    """A file of a bundle: its content's digest, and its size."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Timed:
    """A latency, of the device whose fingerprint stands beside it; what older reports do not tell is None."""

    ms: Percentiles
    speedup: Interval
    rounds: int
    runtime_version: str
    threads: int
    batch: int = 1
    images_per_second: float | None = None
    load_seconds: float | None = None
    peak_memory_mb: float | None = None
    end_to_end: EndToEnd | None = None


@dataclass(frozen=True)
class Packed:
    """A model file of a bundle, how it is run, and what the run measured of it; `file` may be a folder."""

    name: str
    runtime: str
    runtime_fields: dict[str, Any]
    quantization: str
    file: str
    params: int
    macs: int
    accuracy: Accuracy
    accuracy_change: AccuracyChange | None
    latency: Timed

    def __post_init__(self) -> None:
        require(bool(NAME.fullmatch(self.name)), f"a model is named {self.name!r}, which is no plain name")
        options = self.runtime_fields.get("provider_options", {})
        # a path among them would be loaded as a library
        plain = isinstance(options, dict) and all(type(value) is int for value in options.values())
        require(plain, f"{self.name}'s provider_options must be whole numbers in a bundle, got {options}")


@dataclass(frozen=True)
class Source:
    """The run that a bundle was made of."""

    id: str
    name: str
    command: str
    git: str | None

    def __post_init__(self) -> None:
        require(bool(RUN.fullmatch(self.id)), f"the run is {self.id!r}, which is no run's id")


@dataclass(frozen=True)
class Manifest:
    """`manifest.json`: `selected` is what ships, `reference` what its speed-up is over, `device` where the latencies
    were measured, `dataset` what the accuracies are of; `files` lists all others, by their path from the bundle."""

    format: int
    secateur: str
    created: str
    run: Source
    versions: dict[str, str]
    task: Literal["segment", "detect"]
    names: tuple[str, ...]
    imgsz: int
    selected: str
    reference: str
    models: tuple[Packed, ...]
    device: Fingerprint
    dataset: dict[str, Any]
    samples: tuple[str, ...]
    files: dict[str, Listed]

    def __post_init__(self) -> None:
        for path in self.files:
            require(stays_inside(path), f"it lists {path!r}, which is no path inside the bundle")
        for model in self.models:
            inside = stays_inside(model.file) and model.file.startswith(f"{MODELS}/")
            require(inside, f"{model.name}'s file is {model.file!r}, which is no path below {MODELS}")
        for path in (*self.samples, *(self._first_file(model.file) for model in self.models)):
            require(path in self.files, f"{path!r} is not among its files")
        for name in (self.selected, self.reference):
            require(name in self.by_name, f"{name!r} is not among its models")

    @property
    def by_name(self) -> dict[str, Packed]:
        """The models, each under its name."""
        return {model.name: model for model in self.models}

    def _first_file(self, file: str) -> str:
        """A model's file itself, or one of those in its folder."""
        return next((path for path in self.files if PurePosixPath(path).is_relative_to(file)), file)


def stays_inside(path: str) -> bool:
    """Whether a path is a plain one below a folder, on every system."""
    plain = PurePosixPath(path)
    odd = "\\" in path or ":" in path or not path.isprintable()
    return not odd and not plain.is_absolute() and ".." not in plain.parts and plain.as_posix() == path != "."


@dataclass(frozen=True)
class Check:
    """How far what a file gives here is from what it gave where it was bundled, by part of its outputs: a share of how
    much that part varies; `lost` are detections of the samples that were not found again."""

    deviations: dict[str, float | None]
    allowed: float
    expected: int = 0
    lost: int = 0

    @property
    def fault(self) -> str | None:
        """Why the file must not be used here, None where it may."""
        for part, deviation in self.deviations.items():
            if deviation is None:
                return f"its {part} are not finite, or of another shape"
            if deviation > self.allowed:
                return f"its {part} are off by {deviation:.2f} of their spread, more than {self.allowed:g}"
        return f"{self.lost} of {self.expected} detections are lost" if self.lost > self.expected / 5 else None


@dataclass(frozen=True)
class OnDevice:
    """What a device found out about one file of a bundle; it is not timed where the check failed."""

    runtime: str
    check: Check
    latency: Timed | None
    runtime_version: str | None = None


@dataclass(frozen=True)
class DeviceReport:
    """`device.json`: what a device found out about a bundle; `bundle` is the digest of its manifest."""

    format: int
    secateur: str
    created: str
    run_id: str
    bundle: str
    device: Fingerprint
    versions: dict[str, str]
    selected: str
    reference: str
    imgsz: int
    models: dict[str, OnDevice] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(bool(RUN.fullmatch(self.run_id)), f"run_id is {self.run_id!r}, which is no run's id")
        require(self.moment.tzinfo is not None, f"created is {self.created!r}, without a time zone")
        for name in self.models:
            require(bool(NAME.fullmatch(name)), f"a model is named {name!r}, which is no plain name")

    @property
    def moment(self) -> datetime:
        """When it was created."""
        return datetime.fromisoformat(self.created)

    @property
    def faults(self) -> dict[str, str]:
        """Of the files that failed their check."""
        return {name: found.check.fault for name, found in self.models.items() if found.check.fault}

    @property
    def slug(self) -> str:
        """`raspberry-pi-5-model-b-aarch64-3f2a91`: a fingerprint, fit for a file's name."""
        words = re.sub(r"[^a-z0-9]+", "-", f"{self.device.machine} {self.device.processor}".lower()).strip("-")
        return f"{words[:60]}-{hashlib.sha256(repr(astuple(self.device)).encode()).hexdigest()[:6]}"


# ---- JSON from elsewhere -------------------------------------------------------------------------


T = TypeVar("T", Manifest, DeviceReport)


@dataclass(frozen=True)
class _Dated:
    """What every version of these files begins with."""

    format: int


def read(raw: bytes, kind: type[T], place: Path) -> T:
    """`manifest.json` or `device.json`; raises ExportError where it is damaged or of a newer version."""
    try:
        version = msgspec.json.decode(raw, type=_Dated).format
        if version > FORMAT:
            raise ExportError(
                f"{place} has format {version}, and secateur {__version__} reads up to {FORMAT}: "
                "pip install --upgrade secateur"
            )
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ExportError(f"{place} is damaged, or no such file: {error}") from error


def limited(path: Path) -> bytes:
    """A JSON file's bytes; raises ExportError where it is not there, or too large to be one."""
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise ExportError(f"{path} has {path.stat().st_size / 2**20:.0f} MB, too much for what it should be")
        return path.read_bytes()
    except OSError as error:
        raise ExportError(f"cannot read {path}: {error.strerror}") from error


def devices_of(run_dir: Path) -> dict[Path, DeviceReport]:
    """What devices found out about a run, by file; raises ExportError where one is damaged or of a newer version."""
    return {path: read(limited(path), DeviceReport, path) for path in sorted((run_dir / DEVICES).glob("*.json"))}
