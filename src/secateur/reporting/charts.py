"""Where the marks of a chart lie; the page's template draws them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from secateur.reporting.summary import change, task
from secateur.reporting.table import speedup
from secateur.results import BASELINE, Candidate, Rung, RunReport

_LETTER = 8.2  # width of a label's letter, in the units of the drawing
_LINE = 17.0  # height of a label
_ROUNDING = 1e-6  # labels that were just put a line apart do not overlap


@dataclass(frozen=True)
class Tick:
    """A place on an axis with what is written there."""

    at: float
    text: str


@dataclass(frozen=True)
class Axis:
    """Maps values from `low` to `high` onto a line of the drawing from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> list[Tick]:
        """About five round values, written with no more decimals than they need."""
        step = round_step((self.high - self.low) / 5)
        digits = max(0, -math.floor(math.log10(step)))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [Tick(self.at(n * step), f"{n * step:.{digits}f}") for n in range(first, last + 1)]


@dataclass(frozen=True)
class Mark:
    """A candidate: its point, its whisker from `low` to `high`, its label."""

    x: float
    y: float
    low: float
    high: float
    label: str
    label_x: float
    label_y: float
    anchor: str
    kind: str
    """`baseline`, `selected` or `other`."""


@dataclass(frozen=True)
class Scatter:
    """Accuracy over latency."""

    x: Axis
    y: Axis
    task: str
    marks: tuple[Mark, ...]
    budget: float | None
    """Height of the lowest accuracy that was allowed."""


@dataclass(frozen=True)
class Step:
    """A rung: where it stands, the heights of its accuracy before and after fine-tuning and of its MACs."""

    x: float
    pruned: float
    tuned: float
    macs: float
    cost: str
    """The baseline's MACs in G, or by how much they fell."""
    name: str
    accepted: bool


@dataclass(frozen=True)
class Ladder:
    """Accuracy and MACs over the rungs, the baseline first."""

    accuracy: Axis
    macs: Axis
    task: str
    steps: tuple[Step, ...]
    bar: float
    """Width of a bar."""
    budget: float | None


def round_step(step: float) -> float:
    """The next of 1, 2, 5, 10, 20, …"""
    magnitude = 10.0 ** math.floor(math.log10(step))
    return next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= step * (1 - 1e-9))


def scatter(report: RunReport, width: float, height: float) -> Scatter | None:
    """None where there is nothing to compare."""
    if not report.candidates:
        return None
    lowest = least_accuracy(report)
    scores = [c.accuracy.main for c in report.candidates] + ([] if lowest is None else [lowest])
    x = Axis(0, 1.12 * max(_whisker(c)[1] for c in report.candidates), 56, width - 12)
    y = _around(scores, height - 48, 24)
    marks = _spread(tuple(_mark(candidate, report.selected, x, y) for candidate in report.candidates))
    return Scatter(x, y, task(report.candidates[0].accuracy), marks, None if lowest is None else y.at(lowest))


def ladder(report: RunReport, width: float, height: float) -> Ladder | None:
    """None where no rung was reached."""
    if report.baseline is None or report.baseline_footprint is None or not report.rungs:
        return None
    start = Rung(0, 0.0, 0.0, report.baseline_footprint, report.baseline, report.baseline, accepted=True)
    x = Axis(-0.5, len(report.rungs) + 0.5, 48, width - 8)
    accuracy = Axis(0, 1.1 * max(rung.tuned.main for rung in (start, *report.rungs)) or 1, height - 48, 20)
    macs = Axis(0, 1.15 * start.footprint.macs / 1e9, height - 48, 20)
    lowest = least_accuracy(report)
    budget = None if lowest is None else accuracy.at(lowest)
    steps = _steps(start, report.rungs, x, accuracy, macs)
    return Ladder(accuracy, macs, task(report.baseline), steps, _bar(x), budget)


def least_accuracy(report: RunReport) -> float | None:
    """What the run's budget `max_map_drop` leaves of the baseline's accuracy."""
    drop = report.spec.get("max_map_drop")
    return None if drop is None or report.baseline is None else max(0.0, report.baseline.main - float(drop))


def _around(values: list[float], start: float, end: float) -> Axis:
    margin = max(0.15 * (max(values) - min(values)), 0.01)
    return Axis(max(0.0, min(values) - margin), max(values) + margin, start, end)


def _mark(candidate: Candidate, selected: str | None, x: Axis, y: Axis) -> Mark:
    low, high = (x.at(value) for value in _whisker(candidate))
    height = y.at(candidate.accuracy.main)
    label = f"{candidate.name} {speedup(candidate).split()[0]}"
    label_x, lift, anchor = _place(label, low, high, x)
    kind = "selected" if candidate.name == selected else "baseline" if candidate.name == BASELINE else "other"
    return Mark(x.at(candidate.latency.ms.p50), height, low, high, label, label_x, height - lift, anchor, kind)


def _place(label: str, low: float, high: float, x: Axis) -> tuple[float, float, str]:
    """Right of the whisker, else left of it, else above, as the width of the drawing allows; (x, lift, anchor)."""
    width = _LETTER * len(label)
    if high + 12 + width < x.end:
        return high + 12, -5, "start"
    if low - 12 - width > x.start:
        return low - 12, -5, "end"
    return min(max((low + high) / 2, x.start + width / 2), x.end - width / 2), 13, "middle"


def _whisker(candidate: Candidate) -> tuple[float, float]:
    """The speed-up's interval as milliseconds around the p50."""
    speed = candidate.latency.speedup
    p50 = candidate.latency.ms.p50
    return p50 * speed.median / speed.high, p50 * speed.median / speed.low


def _spread(marks: tuple[Mark, ...]) -> tuple[Mark, ...]:
    """Moves labels down until none lies on another."""
    placed: list[Mark] = []
    for mark in sorted(marks, key=lambda mark: mark.label_y):
        placed.append(_below(mark, placed))
    return tuple(placed)


def _below(mark: Mark, placed: list[Mark]) -> Mark:
    blocking = [other.label_y + _LINE for other in placed if _overlap(mark, other)]
    return _below(replace(mark, label_y=max(blocking)), placed) if blocking else mark


def _overlap(one: Mark, other: Mark) -> bool:
    (left, right), (other_left, other_right) = _extent(one), _extent(other)
    return left < other_right and other_left < right and abs(one.label_y - other.label_y) < _LINE - _ROUNDING


def _extent(mark: Mark) -> tuple[float, float]:
    width = _LETTER * len(mark.label)
    left = mark.label_x - {"start": 0.0, "middle": 0.5, "end": 1.0}[mark.anchor] * width
    return left, left + width


def _steps(baseline: Rung, rungs: tuple[Rung, ...], x: Axis, accuracy: Axis, macs: Axis) -> tuple[Step, ...]:
    return tuple(
        Step(
            x=x.at(place),
            pruned=accuracy.at(rung.pruned.main),
            tuned=accuracy.at(rung.tuned.main),
            macs=macs.at(rung.footprint.macs / 1e9),
            cost=change(rung.footprint.macs, baseline.footprint.macs) if place else f"{rung.footprint.macs / 1e9:.2f}",
            name=str(rung.rung) if place else "baseline",
            accepted=rung.accepted,
        )
        for place, rung in enumerate((baseline, *rungs))
    )


def _bar(x: Axis) -> float:
    return round(0.55 * (x.at(1) - x.at(0)), 1)
