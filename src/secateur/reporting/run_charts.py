"""What of a run is drawn: its candidates and rungs as the points, steps and bars of `charts`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from secateur.reporting import charts
from secateur.reporting.charts import Bar, Difference, Kind, Point, Size, Spread, Step
from secateur.reporting.summary import change, change_interval, decibels, noise_share, task
from secateur.reporting.table import billions, megabytes, score, speedup
from secateur.results import BASELINE, Candidate, ClassChange, LayerNoise, RunReport

WIDE, PHONE, SMALL = (880, 320), (270, 250), (330, 210)
"""Sizes of the charts: on a desk, on a phone, side by side."""

MOST_LOST, MOST_GAINED = 10, 5
"""So many classes are drawn where there are more; the table has all."""

MOST_NOISY = 15
"""So many layers are drawn at most; the table has all."""

COSTS: dict[str, Callable[[Candidate], float]] = {
    "latency, p50, ms": lambda candidate: candidate.latency.ms.p50,
    "MACs, G": lambda candidate: candidate.footprint.macs / 1e9,
    "file, MB": lambda candidate: candidate.size_bytes / 1e6,
}
LATENCY, MACS, SIZE = COSTS


def front(report: RunReport, cost: str, size: Size) -> str:
    """Accuracy of the candidates over one of `COSTS`."""
    first = report.candidates[0].accuracy
    return charts.front(points(report, cost), cost, f"{task(first)} mAP50-95", size, least_accuracy(report))


def points(report: RunReport, cost: str) -> list[Point]:
    """A point a candidate, each with its name as label."""
    plain = [_point(candidate, report.selected, cost) for candidate in report.candidates]
    best = charts.unbeaten(plain)
    return [replace(p, kind="front") if p.kind == "dominated" and p in best else p for p in plain]


def ladder(report: RunReport, size: Size) -> str:
    """mAP before and after fine-tuning, over the rungs."""
    assert report.baseline is not None
    return charts.ladder(steps(report), task(report.baseline), size, least_accuracy(report))


def macs(report: RunReport, size: Size) -> str:
    """MACs over the rungs."""
    return charts.macs(steps(report), size)


def latencies(report: RunReport, width: int) -> str:
    """How long the passes of each candidate took: p50, p90, p95 and p99, and all quantiles that are known."""
    return charts.latencies([_spread(candidate, report.selected) for candidate in report.candidates], width)


def channels(report: RunReport, width: int) -> str:
    """Channels that each group keeps, the unpruned net's behind."""
    bars = [
        Bar(name, kept, f"{name}: {kept} of {whole} channels", whole) for name, (kept, whole) in kept_channels(report)
    ]
    return charts.bars(bars, "channels", width)


def classes(candidate: Candidate, width: int) -> str:
    """What each class' mAP changed by, or those of the largest changes where there are many."""
    drawn = [
        Difference(
            name=found.name,
            value=found.change.observed,
            interval=(found.change.low, found.change.high),
            told=f"{found.name}: {change_interval(found.change)}, {found.objects} objects, {found.pictures} pictures",
            is_measurable=found.is_measurable,
        )
        for found in largest(by_change(candidate))
    ]
    return charts.differences(drawn, f"change of {task(candidate.accuracy)} mAP50-95", width)


def layers(candidate: Candidate, width: int) -> str:
    """The noise of each of its noisiest layers, as a share of the signal's amplitude; all that came together behind."""
    bars = [
        Bar(
            name=layer.name,
            value=100 * noise_share(layer.own_sqnr_db),
            told=f"{layer.name}: {decibels(layer.own_sqnr_db)} dB of its own, {decibels(layer.sqnr_db)} dB accumulated",
            whole=100 * noise_share(layer.sqnr_db),
        )
        for layer in noisiest(candidate)
    ]
    return charts.bars(bars, "noise, % of the signal's amplitude", width)


def noisiest(candidate: Candidate) -> list[LayerNoise]:
    """Its layers in INT8, the one with the most noise of its own first, so many as are drawn."""
    integer = [layer for layer in candidate.layers if not layer.kept_float]
    return sorted(integer, key=lambda layer: -noise_share(layer.own_sqnr_db))[:MOST_NOISY]


def by_change(candidate: Candidate) -> list[ClassChange]:
    """Its classes, the one that lost most first."""
    return sorted(candidate.classes, key=lambda found: found.change.observed)


def largest(found: list[ClassChange]) -> list[ClassChange]:
    """The first and the last of them."""
    return found if len(found) <= MOST_LOST + MOST_GAINED else [*found[:MOST_LOST], *found[-MOST_GAINED:]]


def kept_channels(report: RunReport) -> list[tuple[str, tuple[int, int]]]:
    """(group, (kept, of)) of the last accepted rung, whose net is exported, in the order of the net; empty where
    nothing was pruned, and where it was not noted."""
    accepted = [rung for rung in report.rungs if rung.accepted]
    return list(accepted[-1].channels.items()) if accepted else []


def steps(report: RunReport) -> list[Step]:
    """The unpruned net, then the rungs; empty where none was reached."""
    start, footprint = report.baseline, report.baseline_footprint
    if start is None or footprint is None or not report.rungs:
        return []
    first = Step("baseline", None, start.main, footprint.macs / 1e9, f"{footprint.macs / 1e9:.2f}", accepted=True)
    return [
        first,
        *(
            Step(
                name=str(rung.rung),
                before=rung.pruned.main,
                after=rung.tuned.main,
                macs_g=rung.footprint.macs / 1e9,
                cost=change(rung.footprint.macs, footprint.macs),
                accepted=rung.accepted,
                undone=rung.undone.main if rung.undone else None,
            )
            for rung in report.rungs
        ),
    ]


def least_accuracy(report: RunReport) -> float | None:
    """What the run's budget `max_map_drop` leaves of the baseline's accuracy."""
    drop = report.spec.get("max_map_drop")
    return None if drop is None or report.baseline is None else max(0.0, report.baseline.main - float(drop))


def _point(candidate: Candidate, selected: str | None, cost: str) -> Point:
    factor, found = speedup(candidate).split()[0], candidate.accuracy_change
    told = (
        f"{candidate.name}: {task(candidate.accuracy)} mAP50-95 {score(candidate.accuracy.main)}, "
        f"p50 {candidate.latency.ms.p50:.1f} ms, {speedup(candidate)}, "
        f"{billions(candidate.footprint.macs)}, {megabytes(candidate.size_bytes)} MB"
    )
    return Point(
        name=candidate.name,
        x=COSTS[cost](candidate),
        y=candidate.accuracy.main,
        x_interval=candidate.latency.speedup.around_ms(candidate.latency.ms.p50) if cost == LATENCY else None,
        y_interval=found.main.around(candidate.accuracy.main) if found else None,
        kind=_kind(candidate, selected),
        label=f"{candidate.name} {factor}" if cost == LATENCY else candidate.name,
        told=told + (f"; refused: {candidate.fault}" if candidate.fault else ""),
    )


def _kind(candidate: Candidate, selected: str | None) -> Kind:
    if candidate.name == selected:
        return "selected"
    if candidate.fault:
        return "fault"
    return "baseline" if candidate.name == BASELINE else "dominated"


def _spread(candidate: Candidate, selected: str | None) -> Spread:
    ms = candidate.latency.ms
    percentiles = {"p50": ms.p50, "p90": ms.p90, "p95": ms.p95, "p99": ms.p99}
    return Spread(candidate.name, percentiles, _kind(candidate, selected), candidate.latency.quantiles)
