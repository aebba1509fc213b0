"""Which of many runs are worth a look: those that no other beats in both accuracy and time, from their report.json."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from secateur.results import BASELINE

Report = Mapping[str, Any]
Setting = tuple[object, ...]


@dataclass(frozen=True)
class Point:
    """What a trial ships: its mAP50-95, of masks or of a detector's boxes, and how long it takes for a picture."""

    trial: int
    accuracy: float
    latency_ms: float

    def dominates(self, other: Point) -> bool:
        """Whether it is nowhere worse and somewhere better."""
        no_worse = self.accuracy >= other.accuracy and self.latency_ms <= other.latency_ms
        return no_worse and (self.accuracy > other.accuracy or self.latency_ms < other.latency_ms)


def front(points: Iterable[Point]) -> list[Point]:
    """Those that no other dominates, the fastest first."""
    points = list(points)
    best = [point for point in points if not any(other.dominates(point) for other in points)]
    return sorted(best, key=lambda point: (point.latency_ms, point.trial))


def points(reports: Mapping[int, Report]) -> list[Point]:
    """Of the finished among the trials' reports.

    Each time is the unpruned FP32's at this setting, the median of all trials', over the trial's own speed-up, which
    was measured in turns with it: a machine that was slower for a while moves no trial.
    """
    finished = {trial: report for trial, report in reports.items() if report["selected"]}
    unpruned = _unpruned_ms(finished.values())
    return [
        Point(trial, main_accuracy(file), unpruned[_setting(report)] / file["batch"] / file["speedup"]["median"])
        for trial, report in finished.items()
        for file in [chosen(report)]
    ]


def chosen(report: Report) -> dict[str, Any]:
    """The file that a finished run would ship."""
    return next(file for file in report["candidates"] if file["name"] == report["selected"])


def main_accuracy(figures: Mapping[str, Any]) -> float:
    """The figure that budgets speak of: mask mAP50-95, or box mAP50-95 of a detector."""
    found: float = figures["box_map50_95" if figures["mask_map50_95"] is None else "mask_map50_95"]
    return found


def _unpruned_ms(reports: Iterable[Report]) -> dict[Setting, float]:
    """p50 of a pass of the unpruned FP32 file, the median over the runs of each setting."""
    found: dict[Setting, list[float]] = defaultdict(list)
    for report in reports:
        found[_setting(report)].append(_unpruned(report)["latency_ms"]["p50"])
    return {setting: median(times) for setting, times in found.items()}


def _setting(report: Report) -> Setting:
    """What the time of the unpruned FP32 file depends on, on one device."""
    file = _unpruned(report)
    provider = report["run"]["spec"]["runtime"].get("provider")
    return file["sha256"], file["imgsz"], file["batch"], file["threads"], provider


def _unpruned(report: Report) -> dict[str, Any]:
    return next(file for file in report["candidates"] if file["name"] == BASELINE)
