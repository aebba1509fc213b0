"""Runs side by side, from their report.json alone: what can be compared with what, and which files no other beats.

A file's time is the unpruned FP32's at the same setting, the median over all runs, over the file's own paired
speed-up: a machine that was slower for a while moves no file. Files are in one group where one device timed them, and
where one evaluator scored them on the same pictures; across groups nothing is ranked.
"""

from __future__ import annotations

import json
import math
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from secateur.errors import SpecError
from secateur.fronts import Report, front, setting, unpruned, unpruned_ms
from secateur.manifest import DeviceReport, Timed, devices_of
from secateur.records import overrides_of, shared_by_all
from secateur.results import BASELINE, Change, Fingerprint, Interval

ON_DEVICE = " (its bundle)"
"""After the id of a run whose bundle was timed on a device, which may be the one where the run was done."""


@dataclass(frozen=True)
class Run:
    """A run's report, where it lies, and what devices found out about its bundles."""

    report: Report
    place: str
    devices: tuple[DeviceReport, ...] = ()


@dataclass(frozen=True)
class Entry:
    """A model file as one device timed it and one evaluator scored it; mAP50-95 as fractions.

    `latency_ms` is what is ranked (see above), `p50_ms` and `p95_ms` are as they were measured; all are for a picture.
    Intervals are those of the run itself, against its own unpruned FP32; None for that one. `importance` is what the
    run chose channels by.
    """

    run: str
    asked: str
    file: str
    ships: bool
    quantization: str
    runtime: str
    imgsz: int
    batch: int
    threads: int
    importance: str | None
    params: int
    macs: int
    size_bytes: int
    box_map50_95: float
    mask_map50_95: float | None
    box_change: Change | None
    mask_change: Change | None
    latency_ms: float
    p50_ms: float
    p95_ms: float
    speedup: Interval
    sha256: str
    unpruned_sha256: str | None
    place: str
    fault: str | None

    @property
    def accuracy(self) -> float:
        """The figure that is ranked: mask mAP50-95, or box mAP50-95 of a detector."""
        return self.box_map50_95 if self.mask_map50_95 is None else self.mask_map50_95

    @property
    def change(self) -> Change | None:
        """Of `accuracy`."""
        return self.box_change if self.mask_map50_95 is None else self.mask_change

    @property
    def is_unpruned(self) -> bool:
        """Whether it is what its run's files are compared with: the unpruned FP32."""
        return self.file == BASELINE

    @property
    def is_here(self) -> bool:
        """Whether the run's models lie in its folder; where its records alone were kept they do not."""
        return Path(self.place, "models").is_dir()

    @property
    def problem(self) -> str | None:
        """Why it is not ranked."""
        numbers = (self.accuracy, self.latency_ms, self.box_map50_95, self.speedup.median)
        return self.fault or (None if all(map(math.isfinite, numbers)) else "a metric is not a number")


@dataclass(frozen=True)
class Setting:
    """What all of a group have in common; `dataset` is told by its sizes and digest."""

    device: str
    dataset: str
    evaluator: str
    task: str


@dataclass(frozen=True)
class Group:
    """Files that may be compared, those that ship or, where it is `whole`, all; the fastest first, what is not ranked
    last. `measurements` are all that were made of them, run by run."""

    setting: Setting
    entries: tuple[Entry, ...]
    whole: bool
    measurements: tuple[Entry, ...]

    @property
    def ranked(self) -> list[Entry]:
        """Those without a problem, the fastest first."""
        return [entry for entry in self.entries if entry.problem is None]

    @property
    def front(self) -> list[Entry]:
        """Those that no other dominates, the fastest first."""
        return front(self.ranked)

    @property
    def reference(self) -> Entry | None:
        """The most accurate of the unpruned FP32 files: what is lost, and what is gained, is lost and gained to it."""
        return max((e for e in self.ranked if e.is_unpruned), key=lambda entry: entry.accuracy, default=None)


@dataclass(frozen=True)
class Comparison:
    """`endings` are the runs, by id, that have nothing to compare, each with its status and the reason."""

    groups: tuple[Group, ...]
    endings: Mapping[str, tuple[str, str]]


def runs_in(places: Iterable[Path]) -> list[Run]:
    """Those whose report.json lies at or below these folders; one that is damaged says so.

    Raises SpecError where there is none, ExportError where a device's report is damaged.
    """
    places = list(places)
    reports = {report for place in places for report in _reports(place)}
    if not reports:
        raise SpecError(f"no finished run below {', '.join(map(str, places))}; do one: secateur run +study=quickstart")
    return [read_run(path.parent) for path in reports]


def read_run(folder: Path, place: str | None = None) -> Run:
    """What the folder, or a copy of the one at `place`, tells; a report that is damaged, or is not there, says so.

    Raises ExportError where a device's report is damaged.
    """
    named = place or str(folder)
    return Run(_read(folder / "report.json", Path(named).name), named, tuple(devices_of(folder).values()))


def _reports(place: Path) -> Iterator[Path]:
    """Nothing is looked for inside a run, nor in MLflow's copies."""
    for folder, below, files in os.walk(place):
        if "report.json" in files:
            yield Path(folder, "report.json").resolve()
            below.clear()
        below[:] = [name for name in below if name != "mlflow-artifacts"]


def _read(path: Path, name: str) -> Report:
    try:
        report: Report = json.loads(path.read_bytes())
        return _damaged(name, "it holds no run") if "run" not in report else report
    except (OSError, ValueError, TypeError) as error:
        return _damaged(name, str(error))


def _damaged(name: str, reason: str) -> Report:
    run = {"id": name, "status": "damaged", "error": f"its report.json cannot be read: {reason}"}
    return {"run": run, "selected": None, "device": None}


def compared(runs: Sequence[Run], every: bool = False) -> Comparison:
    """What each finished run ships, and the unpruned FP32; with `every`, each of its files.

    A file that stands in several runs is told once, with that of its speed-ups that is the median; but for what they
    ship, where not `every` file is asked for.
    """
    runs = sorted(runs, key=lambda run: run.place)  # as their names begin with the time
    finished = [run for run in runs if run.report["selected"] and run.report["device"]]
    asked = dict(zip((run.place for run in finished), asked_of(finished), strict=True))
    seen = [each for run in finished for each in _everywhere(run)]
    groups = (_group(where, alike, asked, every) for where, alike in _by_setting(seen).items())
    return Comparison(tuple(groups), dict(_endings(runs)))


def device_line(device: Mapping[str, Any]) -> str:
    """All of a fingerprint."""
    facts = [device["processor"], f"{device['cores']} cores", device["machine"], device["system"]]
    return ", ".join([*facts, *filter(None, [device.get("governor")]), *device["flags"]])


def _endings(runs: Sequence[Run]) -> Iterator[tuple[str, tuple[str, str]]]:
    for run in runs:
        header = run.report["run"]
        if not (run.report["selected"] and run.report["device"]):
            yield header["id"], (header["status"], header["error"] or run.report["why"] or "nothing was measured")


def asked_of(runs: Sequence[Run]) -> list[str]:
    """Of each run's overrides, those that not all have."""
    overrides = [overrides_of(run.report["run"]["command"]) for run in runs]
    common = shared_by_all(overrides)
    return [" ".join(override for override in each if override not in common) for each in overrides]


def _everywhere(run: Run) -> Iterator[Run]:
    """The run as it was measured where it was done, and as each device did that timed what it ships."""
    yield run
    for each in run.devices:
        timed = {name: model.latency for name, model in each.models.items() if model.latency}
        if each.selected in timed:
            yield replace(run, report=_on(each.device, each.selected, timed, run.report))


def _on(device: Fingerprint, ships: str, timed: Mapping[str, Timed], report: Report) -> Report:
    """The run with what a device found out about the files of its bundle."""
    header = report["run"] | {"id": report["run"]["id"] + ON_DEVICE}
    candidates = [c | _figures(timed[c["name"]]) for c in report["candidates"] if c["name"] in timed]
    return {**report, "run": header, "device": asdict(device), "candidates": candidates, "selected": ships}


def _figures(latency: Timed) -> dict[str, Any]:
    return {"latency_ms": asdict(latency.ms), "speedup": asdict(latency.speedup), "batch": latency.batch}


def _by_setting(runs: Iterable[Run]) -> dict[Setting, list[Run]]:
    found: dict[Setting, list[Run]] = defaultdict(list)
    for run in runs:
        found[_setting(run.report)].append(run)
    return found


def _setting(report: Report) -> Setting:
    file, data = report["candidates"][0], report["dataset"] or {}
    digest = str(data.get("data") or data.get("digest") or "unknown")
    evaluator = f"{file['evaluator']}, {file['images']} pictures"
    task = "box" if file["mask_map50_95"] is None else "mask"
    return Setting(device_line(report["device"]), f"data set {digest[:8]}", evaluator, task)


def _group(where: Setting, runs: Sequence[Run], asked: Mapping[str, str], every: bool) -> Group:
    times = unpruned_ms(run.report for run in runs)
    entries = tuple(
        _entry(run, asked[run.place], file, times)
        for run in runs
        for file in run.report["candidates"]
        if every or file["name"] in (run.report["selected"], BASELINE)
    )
    return Group(where, tuple(sorted(_distinct(entries, every), key=_place)), every, entries)


def _entry(run: Run, asked: str, file: Mapping[str, Any], times: Mapping[Any, float]) -> Entry:
    batch, speedup = file.get("batch", 1), Interval(**file["speedup"])
    p50_ms = file["latency_ms"]["p50"] / batch
    own = unpruned(run.report)  # none where a device could not time it
    unpruned_p50 = times.get(setting(run.report))
    return Entry(
        run=run.report["run"]["id"],
        asked=asked,
        file=file["name"],
        ships=file["name"] == run.report["selected"],
        quantization=file["quantization"],
        runtime=file["runtime"],
        imgsz=file["imgsz"],
        batch=batch,
        threads=file["threads"],
        importance=run.report["run"]["spec"].get("importance", {}).get("name"),
        params=file["params"],
        macs=file["macs"],
        size_bytes=file["size_bytes"],
        box_map50_95=file["box_map50_95"],
        mask_map50_95=file["mask_map50_95"],
        box_change=_change(file.get("box_map50_95_change")),
        mask_change=_change(file.get("mask_map50_95_change")),
        latency_ms=unpruned_p50 / batch / speedup.median if unpruned_p50 else p50_ms,
        p50_ms=p50_ms,
        p95_ms=file["latency_ms"]["p95"] / batch,
        speedup=speedup,
        sha256=file["sha256"],
        unpruned_sha256=own["sha256"] if own else None,
        place=run.place,
        fault=file.get("fault"),
    )


def _change(plain: Mapping[str, float] | None) -> Change | None:
    return Change(**plain) if plain else None


def _distinct(entries: Iterable[Entry], every: bool) -> Iterator[Entry]:
    found: dict[tuple[Any, ...], list[Entry]] = defaultdict(list)
    for entry in entries:
        whose = entry.place if entry.ships and not every else None
        where = entry.run.endswith(ON_DEVICE) and not entry.is_unpruned
        found[whose, where, entry.file, entry.sha256, entry.runtime, entry.threads, entry.imgsz, entry.batch].append(
            entry
        )
    for same in found.values():
        middle = sorted(same, key=lambda entry: entry.speedup.median)[(len(same) - 1) // 2]
        asked = middle.asked if len(same) == 1 else ""  # what several runs made alike is no matter of what was asked
        yield replace(middle, asked=asked, ships=any(entry.ships for entry in same))


def _place(entry: Entry) -> tuple[bool, float, float]:
    return (entry.problem is not None, entry.latency_ms, -entry.accuracy)
