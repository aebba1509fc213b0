"""A bundle as its README, and what a device found out about it as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.text import Text

from secateur.manifest import Check, DeviceReport, Manifest, Packed, Timed
from secateur.reporting.table import NONE, aligned, billions, millions, rounded, score, with_interval
from secateur.results import Fingerprint

TASKS = {"segment": "segments", "detect": "detects"}


def readme(manifest: Manifest) -> str:
    """README.md of a bundle."""
    selected = manifest.by_name[manifest.selected]
    evaluator = selected.accuracy
    return f"""# {manifest.run.name}: {manifest.selected}

A YOLO that {TASKS[manifest.task]} {len(manifest.names)} kinds of objects, in pictures of {manifest.imgsz} px.
Packed by secateur {manifest.secateur} from the run `{manifest.run.id}`, {manifest.created}.

## On the device

    {_install(manifest)}
    secateur bench . --json device.json       # two minutes: are its outputs right here, and how fast is it here
    secateur predict . image.jpg

in this folder, or with the .zip instead of the `.`. Where no index has secateur, `pip install` takes the folder of a
checkout, or its wheel. Neither torch nor a compiler is needed.

## Back where it was made

    secateur replay device.json               # puts the device's figures beside the run's, in MLflow

## What to expect

| file | params | MACs | box mAP | mask mAP | p50 ms | speed-up (95 % interval) |
|---|---|---|---|---|---|---|
{_rows(manifest)}

`{manifest.selected}` is the one to use. `{manifest.reference}` is the net before anything was pruned
or quantized; it goes along so that `bench` can time both in turns: a speed-up is a ratio of measurements side by side.

mAP50-95 by {evaluator.evaluator} on {evaluator.images} validation pictures.
The latencies, of a forward pass at batch {selected.latency.batch}, were measured
on {device(manifest.device)}, by {_runtimes(manifest)}.
They hold there only: `bench` tells those of your device.

## What is in here

| | |
|---|---|
| `manifest.json` | what all the rest is, with the sha256 of every file, checked whenever the bundle is opened |
| `models/` | the model files |
| `labels.txt` | the names of the classes, one a line, in the order of their numbers |
| `settings.json` | the settings of the run |
| `samples/` | pictures for the self-test, and what the files gave for them where they were packed (`expected.json`) |
"""


def _install(manifest: Manifest) -> str:
    extras = sorted({model.runtime for model in manifest.models} - {"onnxruntime"})
    return f"pip install 'secateur[{','.join(extras)}]'" if extras else "pip install secateur"


def _rows(manifest: Manifest) -> str:
    return "\n".join(_row(model, model.name == manifest.reference) for model in manifest.models)


def _row(model: Packed, is_reference: bool) -> str:
    cells = (
        f"`{model.name}`",
        millions(model.params),
        billions(model.macs),
        score(model.accuracy.box_map50_95),
        score(model.accuracy.mask_map50_95),
        f"{model.latency.ms.p50:.1f}",
        "1×" if is_reference else with_interval(model.latency.speedup),
    )
    return f"| {' | '.join(cells)} |"


def _runtimes(manifest: Manifest) -> str:
    told = {f"{m.runtime} {m.latency.runtime_version} on {m.latency.threads} threads" for m in manifest.models}
    return " and ".join(sorted(told))


def device(fingerprint: Fingerprint) -> str:
    """`x86_64, AMD EPYC, 2 cores, Linux 6.18 x86_64`."""
    return f"{fingerprint.machine}, {fingerprint.processor}, {fingerprint.cores} cores, {fingerprint.system}"


def device_tables(manifest: Manifest, report: DeviceReport) -> RenderableType:
    """What `console.print` shows of a bench; at most 80 columns where names are short."""
    parts: list[RenderableType] = [Text(f"This device: {device(report.device)}", style="bold")]
    parts += [_check_line(name, found.check) for name, found in report.models.items()]
    if here := {name: found.latency for name, found in report.models.items() if found.latency}:
        there = {model.name: model.latency for model in manifest.models}
        parts += ["", _latencies("Here", here, report), ""]
        parts += [_latencies(f"Where it was bundled ({device(manifest.device)})", there, report)]
    return Group(*parts)


def _check_line(name: str, check: Check) -> Text:
    if check.fault:
        return Text(f"✗ {name}: {check.fault}", style="red")
    off = max((deviation for deviation in check.deviations.values() if deviation is not None), default=0.0)
    found = f", {check.expected - check.lost} of {check.expected} detections" if check.expected else ""
    return Text(f"✓ {name} gives what it should: off by {off:.3f} of the spread, allowed {check.allowed:g}{found}")


def _latencies(title: str, latencies: Mapping[str, Timed], report: DeviceReport) -> RenderableType:
    table = aligned(Text(title), "file", "p50 ms", "p90", "p99", "img/s", "load s", "MB", "speed-up")
    for name, timed in latencies.items():
        figures = (timed.ms.p50, timed.ms.p90, timed.ms.p99, timed.images_per_second)
        speed = "1×" if name == report.reference else with_interval(timed.speedup)
        mark = "▶" if name == report.selected else " "
        table.add_row(
            f"{mark} {name}",
            *map(_figure, figures),
            _figure(timed.load_seconds, 2),
            rounded(timed.peak_memory_mb),
            speed,
        )
    return table


def _figure(value: float | None, digits: int = 1) -> str:
    return NONE if value is None else f"{value:.{digits}f}"
