"""What a device finds out about a bundle: whether its files give here what they should, and how fast they are."""

from __future__ import annotations

import platform
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

import msgspec

from secateur import __version__
from secateur.edge.bench import Contender, compare
from secateur.edge.bundle import Bundle
from secateur.edge.fingerprint import fingerprint
from secateur.edge.letterbox import read_picture
from secateur.edge.predictor import open_predictor
from secateur.edge.selftest import EXPECTED, Expected, check
from secateur.errors import ExportError
from secateur.manifest import FORMAT, DeviceReport, OnDevice, Timed, limited
from secateur.specs import Benchmark

if TYPE_CHECKING:
    from pathlib import Path

    from secateur.ports import Progress

LIBRARIES = ("numpy", "pillow", "msgspec")
MOST_ROUNDS, LEAST_ROUNDS = 5, 2
SECONDS_A_ROUND = 3.0  # of a file, below which rather fewer rounds are made: starting its process takes one
MEASURED, WARMING = 0.4, 0.05  # shares of a file's time in a round: of its passes, of a window of warming up
LEAST_SECONDS = 0.05  # of a measurement


def measured(bundle: Bundle, seconds: float, progress: Progress, place: Path | None = None) -> DeviceReport:
    """The self-test, then the latencies, unless a file failed, each written to `place` as soon as it is known; raises
    ExportError where a file does not run at all."""
    report = tested(bundle)
    if place:
        write(report, place)
    if not report.faults:
        report = timed(bundle, report, seconds, progress)
        if place:
            write(report, place)
    return report


def tested(bundle: Bundle) -> DeviceReport:
    """Runs each file on the samples; raises ExportError where one cannot be opened here."""
    expected, pictures = _expected(bundle), [read_picture(path) for path in bundle.samples]
    models = {}
    for name, packed in bundle.manifest.by_name.items():
        runtime = bundle.runtime(name)
        predictor = open_predictor(bundle.model(name), runtime, names=bundle.manifest.names)
        found = check(predictor, pictures, expected[name])
        models[name] = OnDevice(packed.runtime, found, None, runtime.version())
    return _report(bundle, models)


def timed(bundle: Bundle, report: DeviceReport, seconds: float, progress: Progress) -> DeviceReport:
    """The same report with the latency of each file, measured in about so many seconds; raises ExportError."""
    contenders = {name: Contender(bundle.model(name), bundle.runtime(name)) for name in report.models}
    plan = planned(seconds, len(contenders))
    found = compare(contenders, bundle.manifest.reference, plan, progress, bundle.samples)
    latencies = {name: msgspec.convert(latency, Timed, from_attributes=True) for name, latency in found.items()}
    return replace(report, models={name: replace(report.models[name], latency=latencies[name]) for name in latencies})


def planned(seconds: float, files: int) -> Benchmark:
    """Rounds that take about so long for so many files: each is opened, warmed up, and measured with passes for so many
    seconds and with predictions for half as many."""
    rounds = min(max(int(seconds / (files * SECONDS_A_ROUND)), LEAST_ROUNDS), MOST_ROUNDS)
    share = seconds / (rounds * files)
    return Benchmark(rounds, max(MEASURED * share, LEAST_SECONDS), WARMING * share)


def _expected(bundle: Bundle) -> dict[str, Expected]:
    """By model; raises ExportError where it is not told for each of them, and each of the samples."""
    path = bundle.folder / EXPECTED
    try:
        expected = msgspec.json.decode(limited(path), type=dict[str, Expected])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ExportError(f"{EXPECTED} of the bundle is damaged: {error}") from error
    pictures = len(bundle.manifest.samples)
    if set(expected) != set(bundle.manifest.by_name) or any(len(of.pictures) != pictures for of in expected.values()):
        raise ExportError(f"{EXPECTED} tells of other models or samples than the manifest; get the bundle anew")
    return expected


def _report(bundle: Bundle, models: dict[str, OnDevice]) -> DeviceReport:
    manifest = bundle.manifest
    return DeviceReport(
        format=FORMAT,
        secateur=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        run_id=manifest.run.id,
        bundle=bundle.digest,
        device=fingerprint(),
        versions={"python": platform.python_version()} | {library: version(library) for library in LIBRARIES},
        selected=manifest.selected,
        reference=manifest.reference,
        imgsz=manifest.imgsz,
        models=models,
    )


# ---- device.json ---------------------------------------------------------------------------------


def write(report: DeviceReport, path: Path) -> None:
    """As indented JSON; what was there is written over."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))


def refuse_faults(report: DeviceReport) -> None:
    """Raises ExportError where a file must not be used on this device."""
    for name, fault in report.faults.items():
        raise ExportError(f"{name} does not give on this device what it should: {fault}; do not use it here")
