"""What each group of channels costs alone: as CSV, as a table for the terminal, as a page that needs no network."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, replace

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from secateur.reporting.pages import environment
from secateur.reporting.summary import MINUS
from secateur.results import Sensitivity

TEMPLATE = "sensitivity.html.j2"

NAMED = 3
"""So many of the groups that cost most are named in the headline."""

LITTLE = 0.005
"""mAP50-95 below which a group counts as one that costs next to nothing: half a point."""

METHOD = (
    "Each group alone was narrowed in the unpruned net, its least important channels first, and the net scored as it "
    "then was: neither healed nor trained, on training pictures. Compare these figures with each other only."
)

_LETTER = 7.3  # width of a name's letter, in the units of the drawing
_TOP, _BOTTOM = 44, 26  # room for the axes


@dataclass(frozen=True)
class Row:
    """A group, and the mAP50-95 it loses at each ratio; what is negative was gained."""

    group: str
    drops: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Of the drops, over the ratios."""
        return statistics.fmean(self.drops)


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
        """Where it lies in the drawing, to a tenth of its units."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> list[Tick]:
        """About five round values, written with no more decimals than they need."""
        step = round_step((self.high - self.low) / 5)
        digits = max(0, -math.floor(math.log10(step)))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [Tick(self.at(n * step), f"{n * step:.{digits}f}") for n in range(first, last + 1)]


@dataclass(frozen=True)
class Line:
    """A group in the drawing: its height, its name, and a mark a ratio."""

    y: float
    name: str
    marks: tuple[float, ...]
    told: str
    """What a pointer that rests on the line is told."""


@dataclass(frozen=True)
class Plot:
    """The groups in the net's order, loss to the right."""

    width: float
    height: float
    axis: Axis
    ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]


def round_step(step: float) -> float:
    """The next of 1, 2, 5, 10, 20, …"""
    magnitude = 10.0 ** math.floor(math.log10(step))
    return next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= step * (1 - 1e-9))


def rows(found: Sensitivity) -> list[Row]:
    """The groups by what they cost on average over the ratios, the dearest first."""
    return sorted(_in_net_order(found), key=lambda row: row.mean, reverse=True)


def headline(found: Sensitivity) -> str:
    """Which groups cost most, and how many cost next to nothing."""
    ordered = rows(found)
    return f"{_dearest(ordered)}; {_nearly_free(ordered)}."


def to_csv(found: Sensitivity) -> str:
    """A line a group in the net's order, under a header of ratios: mAP50-95 lost, so that a gain is negative."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["group", *(f"{ratio:g}" for ratio in found.ratios)])
    for row in _in_net_order(found):
        writer.writerow([row.group, *(f"{drop:z.4f}" for drop in row.drops)])
    return text.getvalue()


def table(found: Sensitivity, limit: int | None = None) -> RenderableType:
    """The groups that cost most come first, `limit` of them or all; up to six ratios fit into 80 columns."""
    ordered = rows(found)
    drawn = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    drawn.add_column("group", overflow="fold")
    for name in columns(found):
        drawn.add_column(name, justify="right", no_wrap=True)
    for row in ordered[:limit]:
        drawn.add_row(row.group, *changes(row))
    left = len(ordered) - len(ordered[:limit])
    more = [Text(f"{left} more, which cost less, are in the file.", style="dim")] if left else []
    return Group(Text(headline(found), style="bold"), "", drawn, *more, Text(METHOD, style="dim"))


def page(found: Sensitivity, facts: Mapping[str, str]) -> str:
    """The page; `facts` tell what was measured and how: criterion, pictures, image size."""
    return (
        environment()
        .get_template(TEMPLATE)
        .render(
            headline=headline(found),
            method=METHOD,
            shares=[share(ratio) for ratio in found.ratios],
            plots={"on-desk": plot(found, width=940, pitch=17), "on-phone": plot(found, width=420, pitch=20)},
            columns=columns(found),
            rows=[(row.group, changes(row)) for row in rows(found)],
            facts=facts,
        )
    )


def plot(found: Sensitivity, width: float, pitch: float) -> Plot:
    """A drawing `width` wide with a line a `pitch`."""
    values = [0.0, *(drop for drops in found.drops.values() for drop in drops)]
    names = _LETTER * max((len(name) for name in found.drops), default=0)
    margin = max(0.03 * (max(values) - min(values)), 0.001)
    axis = Axis(min(values) - margin, max(values) + margin, names + 12, width - 10)
    lines = tuple(_line(place, row, found, axis, pitch) for place, row in enumerate(_in_net_order(found)))
    ticks = tuple(replace(tick, text=_as_change(tick.text)) for tick in axis.ticks())
    return Plot(width, _TOP + pitch * len(lines) + _BOTTOM, axis, ticks, lines)


def columns(found: Sensitivity) -> list[str]:
    """`−25 %` and so on, then the mean that the rows are ordered by."""
    return [*map(share, found.ratios), "mean"]


def changes(row: Row) -> list[str]:
    """The cells of a row, under `columns`."""
    return [change(drop) for drop in (*row.drops, row.mean)]


def share(ratio: float) -> str:
    """`−25 %`: so many of the group's channels are gone."""
    return f"{MINUS}{100 * ratio:.3g} %"


def change(drop: float) -> str:
    """`−0.031` where mAP was lost, `+0.002` where it was gained."""
    shown = _shown(drop)
    return f"{'±' if shown == 0 else MINUS if shown > 0 else '+'}{abs(shown):.3f}"


def _shown(drop: float) -> float:
    return round(drop, 3)


def _dearest(ordered: list[Row]) -> str:
    named = [f"{row.group} ({change(row.mean)})" for row in ordered[:NAMED] if _shown(row.mean) > 0]
    if not named:
        return "No group costs mAP50-95 on average over the ratios"
    return f"On average over the ratios, {_listed(named)} cost{'' if len(named) > 1 else 's'} most mAP50-95"


def _nearly_free(ordered: list[Row]) -> str:
    free = sum(_shown(max(row.drops)) < LITTLE for row in ordered)
    return f"{free or 'none'} of {len(ordered)} groups cost{'s' if free == 1 else ''} less than {LITTLE} at every ratio"


def _listed(names: list[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _in_net_order(found: Sensitivity) -> list[Row]:
    return [Row(group, drops) for group, drops in found.drops.items()]


def _line(place: int, row: Row, found: Sensitivity, axis: Axis, pitch: float) -> Line:
    told = ", ".join(f"{share(ratio)}: {change(drop)}" for ratio, drop in zip(found.ratios, row.drops, strict=True))
    marks = tuple(axis.at(drop) for drop in row.drops)
    return Line(_TOP + pitch * (place + 0.5), row.group, marks, f"{row.group}: {told}")


def _as_change(drop: str) -> str:
    """A tick of drops as a change of mAP: `0.10` as `−0.10`."""
    if float(drop) == 0:
        return "0"
    return f"+{drop[1:]}" if drop.startswith("-") else f"{MINUS}{drop}"
