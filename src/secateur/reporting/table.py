"""A run as tables for the terminal: the ladder, then the files that could ship."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from secateur.reporting.summary import (
    NO_DIFFERENCE,
    accuracy_method,
    caution,
    change,
    change_interval,
    change_method,
    digits_of,
    end_to_end_method,
    goal,
    headline,
    latency_method,
    ratio,
    search,
    span,
    undoing,
)
from secateur.results import BASELINE, Accuracy, Candidate, Change, EndToEnd, Footprint, Interval, Rung, RunReport

NONE = "–"


def tables(report: RunReport) -> RenderableType:
    """What `console.print` shows of a run; at most 80 columns, and plain text where there is no terminal."""
    parts: list[RenderableType] = [Text(headline(report), style="bold")]
    if doubt := caution(report):
        parts.append(Text(doubt, style="bold red"))
    if report.baseline is not None and report.baseline_footprint is not None:
        parts += ["", _ladder(report, report.baseline, report.baseline_footprint)]
        told = (tell(rung) for rung in report.rungs for tell in (search, undoing))
        notes = [accuracy_method(report.baseline), *filter(None, told)]
        parts += [Text(note, style="dim") for note in notes]
    if report.candidates:
        faults = [Text(f"✗ {c.name}: {c.fault}", style="red") for c in report.candidates if c.fault]
        parts += ["", _candidates(report), *faults, Text(latency_method(report), style="dim")]
    if method := end_to_end_method(report):
        parts += ["", _end_to_end(report), Text(method, style="dim")]
    if any(candidate.accuracy_change for candidate in report.candidates):
        parts += ["", _changes(report), Text(change_method(report), style="dim")]
    if report.selected and report.why:
        parts += ["", Text(f"▶ {report.selected}: {report.why}")]
    return Group(*parts)


def _ladder(report: RunReport, baseline: Accuracy, footprint: Footprint) -> Table:
    unit = report.spec["schedule"].get("unit")
    title = f"Rungs ({unit} gone, asked → reached; mAP50-95, pruned → fine-tuned)" if unit else "Nothing is pruned"
    table = aligned(title, "rung", "gone", "params", "MACs", "", "box mAP", "mask mAP", "")
    table.add_row(
        "baseline", "", *_costs(footprint, footprint), score(baseline.box_map50_95), score(baseline.mask_map50_95)
    )
    for name, found in report.before_pruning.items():
        table.add_row(name, "", "", "", "", score(found.box_map50_95), score(found.mask_map50_95))
    for rung in report.rungs:
        table.add_row(*_rung(rung, footprint), style=None if rung.accepted else "dim")
    return table


def _rung(rung: Rung, baseline: Footprint) -> tuple[str, ...]:
    box = f"{score(rung.pruned.box_map50_95)} → {score(rung.tuned.box_map50_95)}"
    mask = f"{score(rung.pruned.mask_map50_95)} → {score(rung.tuned.mask_map50_95)}"
    has_mask = rung.tuned.mask_map50_95 is not None
    return str(rung.rung), goal(rung), *_costs(rung.footprint, baseline), box, mask if has_mask else NONE, verdict(rung)


def _costs(footprint: Footprint, baseline: Footprint) -> tuple[str, str, str]:
    relative = "" if footprint == baseline else change(footprint.macs, baseline.macs)
    return millions(footprint.params), billions(footprint.macs), relative


def _candidates(report: RunReport) -> Table:
    title = "Candidates (speed-up over the unpruned FP32, 95 % interval)"
    table = aligned(title, "file", "params", "MACs", "box", "mask", "MB", "p50 ms", "speed-up")
    for candidate in report.candidates:
        style = "bold" if candidate.name == report.selected else "dim" if candidate.fault else None
        table.add_row(*_candidate(candidate, report), style=style)
    return table


def _candidate(candidate: Candidate, report: RunReport) -> tuple[str, ...]:
    footprint = candidate.footprint
    baseline = report.baseline_footprint or footprint
    return (
        f"{_mark(candidate, report)} {candidate.name}",
        millions(footprint.params),
        billions(footprint.macs) if footprint == baseline else change(footprint.macs, baseline.macs),
        score(candidate.accuracy.box_map50_95),
        score(candidate.accuracy.mask_map50_95),
        megabytes(candidate.size_bytes),
        f"{candidate.latency.ms.p50:.1f}",
        speedup(candidate),
    )


def _end_to_end(report: RunReport) -> Table:
    title = "Whole predictions (ms), and what they take"
    table = aligned(title, "file", "net", "before", "after", "whole", "speed-up", "MB", "load s")
    for candidate in report.candidates:
        style = "bold" if candidate.name == report.selected else None
        table.add_row(f"{_mark(candidate, report)} {candidate.name}", *whole(candidate), style=style)
    return table


def whole(candidate: Candidate) -> tuple[str, ...]:
    """p50 of the pass, of what is before and after it and of all, the speed-up of all; MB, seconds to load."""
    latency = candidate.latency
    pass_ms, load = f"{latency.ms.p50:.1f}", f"{latency.load_seconds:.2f}"
    return pass_ms, *_around(candidate.name, latency.end_to_end), rounded(latency.peak_memory_mb), load


def _around(name: str, found: EndToEnd | None) -> tuple[str, ...]:
    """Dashes where no whole predictions were timed."""
    if found is None:
        return (NONE,) * 4
    parts = (found.preprocess_ms.p50, found.postprocess_ms.p50, found.ms.p50)
    return *(f"{ms:.1f}" for ms in parts), "1×" if name == BASELINE else ratio(found.speedup.median, 2)


def rounded(megabytes: float | None) -> str:
    """`120`, or a dash where nobody told."""
    return NONE if megabytes is None else f"{megabytes:.0f}"


def _mark(candidate: Candidate, report: RunReport) -> str:
    return "▶" if candidate.name == report.selected else "✗" if candidate.fault else " "


def _changes(report: RunReport) -> Table:
    table = aligned("Change of mAP50-95 to the unpruned FP32 (95 % interval)", "file", "box", "mask")
    for candidate in report.candidates:
        if changes := candidate.accuracy_change:
            box, mask = _verdict(changes.box_map50_95), _verdict(changes.mask_map50_95)
            table.add_row(candidate.name, box, mask)
    return table


def _verdict(found: Change | None) -> str:
    """At most 25 wide; a second line where nothing was found."""
    if found is None:
        return NONE
    return change_interval(found) + ("" if found.is_measurable else f"\n{NO_DIFFERENCE}")


def aligned(title: str | Text, first: str, *columns: str) -> Table:
    """A plain table: names left, figures right."""
    table = Table(title=title, title_justify="left", title_style="", box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(first, overflow="fold")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def score(value: float | None) -> str:
    """`0.351`, or a dash for what the net does not do."""
    return NONE if value is None else f"{value:.3f}"


def millions(params: int) -> str:
    """`3.41 M`."""
    return f"{params / 1e6:.2f} M"


def billions(macs: int) -> str:
    """`6.36 G`."""
    return f"{macs / 1e9:.2f} G"


def megabytes(size_bytes: int) -> str:
    """Decimal megabytes: `13.8`."""
    return f"{size_bytes / 1e6:.1f}"


def speedup(candidate: Candidate) -> str:
    """`2.7× (2.6–2.8)`; the baseline is 1× by definition."""
    return "1×" if candidate.name == BASELINE else with_interval(candidate.latency.speedup)


def with_interval(interval: Interval) -> str:
    """`2.7× (2.6–2.8)`."""
    return f"{ratio(interval.median, digits_of(interval))} ({span(interval)})"


def verdict(rung: Rung) -> str:
    """Whether the rung stayed within the budget, and whether its training was undone."""
    told = {"rejected": not rung.accepted, "undone": rung.undone is not None}
    return ", ".join(word for word, holds in told.items() if holds)
