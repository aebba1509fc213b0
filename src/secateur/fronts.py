"""Which of many runs are worth a look: those that no other beats in both accuracy and time, from their report.json."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, Protocol, TypeVar

from secateur.results import BASELINE

Report = Mapping[str, Any]
Setting = tuple[object, ...]


class Standing(Protocol):
    """Whatever has an mAP50-95, of masks or of a detector's boxes, and a time for a picture; both are numbers."""

    @property
    def accuracy(self) -> float:
        """mAP50-95, a fraction."""

    @property
    def latency_ms(self) -> float:
        """Of one picture."""


S = TypeVar("S", bound=Standing)
T = TypeVar("T")


@dataclass(frozen=True)
class Point:
    """What a trial ships."""

    trial: int
    accuracy: float
    latency_ms: float


def front(points: Iterable[S]) -> list[S]:
    """Those that no other dominates in accuracy and time, the fastest first."""
    return unbeaten(points, lambda point: point.latency_ms, lambda point: point.accuracy)


def unbeaten(points: Iterable[T], cost: Callable[[T], float], gain: Callable[[T], float]) -> list[T]:
    """Those that no other dominates, the cheapest first; one dominates another that is nowhere better and somewhere
    worse."""
    best: list[T] = []
    for point in sorted(points, key=lambda point: (cost(point), -gain(point))):
        as_good = best and (cost(point), gain(point)) == (cost(best[-1]), gain(best[-1]))
        if not best or as_good or gain(point) > gain(best[-1]):
            best.append(point)
    return best


def points(reports: Mapping[int, Report]) -> list[Point]:
    """Of the finished among the trials' reports.

    Each time is the unpruned FP32's at this setting, the median of all trials', over the trial's own speed-up, which
    was measured in turns with it: a machine that was slower for a while moves no trial.
    """
    finished = {trial: report for trial, report in sorted(reports.items()) if report["selected"]}
    times = unpruned_ms(finished.values())
    return [
        Point(trial, main_accuracy(file), times[setting(report)] / file["batch"] / file["speedup"]["median"])
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


def unpruned_ms(reports: Iterable[Report]) -> dict[Setting | None, float]:
    """p50 of a pass of the unpruned FP32 file, the median over the runs of each setting."""
    found: dict[Setting | None, list[float]] = defaultdict(list)
    for report in reports:
        if file := unpruned(report):
            found[setting(report)].append(file["latency_ms"]["p50"])
    return {key: median(times) for key, times in found.items()}


def setting(report: Report) -> Setting | None:
    """What the time of the unpruned FP32 file depends on, on one device; None where it was not timed."""
    file = unpruned(report)
    if file is None:
        return None
    provider = report["run"]["spec"].get("runtime", {}).get("provider")
    return file["sha256"], file["imgsz"], file["batch"], file["threads"], provider


def unpruned(report: Report) -> dict[str, Any] | None:
    """The unpruned FP32 file of a finished run; None where only other files were timed, as by a device."""
    return next((file for file in report["candidates"] if file["name"] == BASELINE), None)
