"""A run as one page that needs no network: numbers, charts, and what it takes to repeat it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass

from jinja2 import Environment
from markupsafe import Markup

from secateur.reporting import pages, run_charts, summary, table
from secateur.results import FEW_PICTURES, Accuracy, Candidate, Change, Footprint, RunReport

TEMPLATE = "report.html.j2"


@dataclass(frozen=True)
class Figure:
    """A key figure: what ships, and what it was before."""

    name: str
    before: str
    after: str
    difference: str


@dataclass(frozen=True)
class Drawn:
    """What one file found in a picture; `data` is the drawing, as an address that holds it."""

    candidate: str
    found: str
    data: str


def render(report: RunReport) -> str:
    """The page."""
    return (
        _environment()
        .get_template(TEMPLATE)
        .render(
            report=report,
            headline=summary.headline(report),
            caution=summary.caution(report),
            figures=_figures(report),
            drawn={name: Markup(svg) for name, svg in _charts(report).items()},
            channels=run_charts.kept_channels(report),
            paid=summary.who_paid(report),
            quantized=summary.quantized(report),
            pictures=_pictures(report),
            settings=[f"{name}={summary.typed(value)}" for name, value in summary.flatten(report.spec).items()],
            dataset=summary.flatten(report.dataset or {}),
            change_method=summary.change_method(report),
            latency_method=summary.latency_method(report),
            end_to_end_method=summary.end_to_end_method(report),
            times={candidate.name: _times(candidate) for candidate in report.candidates},
            minutes=f"{report.seconds / 60:.0f} min" if report.seconds >= 120 else f"{report.seconds:.0f} s",
        )
    )


def _environment() -> Environment:
    environment = pages.environment()
    environment.globals.update(
        accuracy_method=summary.accuracy_method,
        task=summary.task,
        by_change=run_charts.by_change,
        few_pictures=FEW_PICTURES,
        most_lost=run_charts.MOST_LOST,
        most_gained=run_charts.MOST_GAINED,
        noisiest=run_charts.noisiest,
        no_difference=summary.NO_DIFFERENCE,
    )
    names: tuple[Callable[..., str], ...] = (
        summary.search,
        summary.undoing,
        table.score,
        table.millions,
        table.billions,
        table.megabytes,
        table.speedup,
        table.verdict,
        summary.change,
        summary.change_interval,
        summary.decibels,
        summary.goal,
    )
    environment.filters.update({function.__name__: function for function in names})
    return environment


def _charts(report: RunReport) -> dict[str, str]:
    """By the name that the template has for each; what there is nothing to draw for is left out."""
    drawn: dict[str, str] = {}
    if report.candidates:
        drawn |= {
            "front": run_charts.front(report, run_charts.LATENCY, run_charts.WIDE),
            "front_phone": run_charts.front(report, run_charts.LATENCY, run_charts.PHONE),
            "front_macs": run_charts.front(report, run_charts.MACS, run_charts.SMALL),
            "front_size": run_charts.front(report, run_charts.SIZE, run_charts.SMALL),
            "latencies": run_charts.latencies(report, run_charts.WIDE[0]),
            "latencies_phone": run_charts.latencies(report, run_charts.PHONE[0]),
        }
    if run_charts.steps(report):
        drawn |= {
            "ladder": run_charts.ladder(report, run_charts.SMALL),
            "macs": run_charts.macs(report, run_charts.SMALL),
        }
    if run_charts.kept_channels(report):
        drawn |= {
            "channels": run_charts.channels(report, run_charts.WIDE[0]),
            "channels_phone": run_charts.channels(report, run_charts.PHONE[0]),
        }
    if paid := summary.who_paid(report):
        drawn |= {
            "classes": run_charts.classes(paid, run_charts.WIDE[0]),
            "classes_phone": run_charts.classes(paid, run_charts.PHONE[0]),
        }
    if quantized := summary.quantized(report):
        drawn |= {
            "layers": run_charts.layers(quantized, run_charts.WIDE[0]),
            "layers_phone": run_charts.layers(quantized, run_charts.PHONE[0]),
        }
    return drawn


def _pictures(report: RunReport) -> dict[str, list[Drawn]]:
    """What each file found in each sample picture."""
    pictures: dict[str, list[Drawn]] = {}
    for candidate in report.candidates:
        for sample in candidate.samples:
            data = base64.b64encode(sample.drawn.path.read_bytes()).decode()
            found = Drawn(candidate.name, sample.found, f"data:image/jpeg;base64,{data}")
            pictures.setdefault(sample.picture, []).append(found)
    return pictures


def _figures(report: RunReport) -> list[Figure]:
    candidate = summary.selected(report)
    if candidate is None or report.baseline is None or report.baseline_footprint is None:
        return []
    unpruned = summary.unpruned(report)
    figures = _costs(candidate.footprint, report.baseline_footprint)
    figures.append(_accuracy(candidate, unpruned.accuracy if unpruned else report.baseline))
    return figures if unpruned is None else [*figures, *_measured(candidate, unpruned)]


def _costs(footprint: Footprint, baseline: Footprint) -> list[Figure]:
    params = summary.change(footprint.params, baseline.params)
    macs = summary.change(footprint.macs, baseline.macs)
    return [
        Figure("Parameters", table.millions(baseline.params), table.millions(footprint.params), params),
        Figure("MACs", table.billions(baseline.macs), table.billions(footprint.macs), macs),
    ]


def _accuracy(candidate: Candidate, baseline: Accuracy) -> Figure:
    accuracy, found = candidate.accuracy, candidate.accuracy_change
    name = f"{summary.task(accuracy).capitalize()} mAP50-95"
    lost = _difference(found.main) if found else summary.points(accuracy.main, baseline.main)
    return Figure(name, table.score(baseline.main), table.score(accuracy.main), lost)


def _difference(found: Change) -> str:
    return summary.change_interval(found) + ("" if found.is_measurable else f", {summary.NO_DIFFERENCE}")


def _measured(candidate: Candidate, unpruned: Candidate) -> list[Figure]:
    size = summary.change(candidate.size_bytes, unpruned.size_bytes)
    return [
        Figure("File", _size(unpruned), _size(candidate), size),
        Figure("Latency, p50", _time(unpruned), _time(candidate), table.speedup(candidate)),
    ]


def _times(candidate: Candidate) -> tuple[str, ...]:
    """Of the forward pass, of what is before and after it and of all, with the whole's speed-up; memory, loading."""
    latency = candidate.latency
    p50, *whole = table.whole(candidate)
    return p50, f"{latency.ms.p90:.1f}", f"{latency.ms.p99:.1f}", f"{latency.images_per_second:.1f}", *whole


def _size(candidate: Candidate) -> str:
    return f"{table.megabytes(candidate.size_bytes)} MB"


def _time(candidate: Candidate) -> str:
    return f"{candidate.latency.ms.p50:.1f} ms"
