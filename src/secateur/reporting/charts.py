"""Charts as static SVG, drawn by Vega: the door to altair and vl_convert.

Colours are the page's CSS variables, so that one drawing does for light, dark and paper; what a mark tells under the
pointer is its `<title>`. Nothing here needs JavaScript, a network or a browser.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from secateur import fronts
from secateur.reporting import svg
from secateur.reporting.labels import Box

if TYPE_CHECKING:
    import altair

Kind = Literal["baseline", "selected", "front", "dominated", "fault"]

Size = tuple[int, int]
"""Width and height in CSS pixels of the plot's inside; the drawing scales with the page."""

INK, SOFT, LINE, CARD = "var(--ink)", "var(--soft)", "var(--line)", "var(--card)"
LEAF, CLAY, BAD = "var(--leaf)", "var(--clay)", "var(--bad)"

NEAR_ZERO, HEADROOM = 0.25, 1.1
"""An axis of accuracies begins at 0 where the least is below the first's share of the greatest, and ends at so many
times that; else at the least and the greatest, so that what differs is not small."""

FEW_RUNGS = 7
"""Up to so many bars have their figure above them; of more, the first and the last."""

_FONT = "DejaVu Sans"  # labels are measured with it, as one of the widest; the page has its own
_LOOK: dict[Kind, dict[str, Any]] = {
    "baseline": {"fill": CARD, "stroke": INK, "shape": "diamond", "size": 90},
    "selected": {"fill": LEAF, "stroke": LEAF, "shape": "circle", "size": 150},
    "front": {"fill": INK, "stroke": INK, "shape": "circle", "size": 60},
    "dominated": {"fill": SOFT, "stroke": SOFT, "shape": "circle", "size": 36},
    "fault": {"fill": BAD, "stroke": BAD, "shape": "M-1,-1L1,1M-1,1L1,-1", "size": 60},
}


@dataclass(frozen=True)
class Point:
    """A file or a run: what it costs (`x`, less is better) and how right it is (`y`, more is better).

    A `label` is written beside it where there is room; `told` is what the pointer finds.
    """

    name: str
    x: float
    y: float
    x_interval: tuple[float, float] | None = None
    y_interval: tuple[float, float] | None = None
    kind: Kind = "dominated"
    label: str = ""
    told: str = ""


@dataclass(frozen=True)
class Step:
    """A rung of the ladder: accuracy before and after fine-tuning, MACs in G; `before` is None for the unpruned net.
    `undone` is what a training came to that was undone, so that `after` is what was `before`."""

    name: str
    before: float | None
    after: float
    macs_g: float
    cost: str
    """What is written above the bar."""
    accepted: bool
    undone: float | None = None


@dataclass(frozen=True)
class Spread:
    """Milliseconds of one file by percentile (`p50`, …), rising; between two neighbours of `quantiles` lie as many
    passes as between any other two."""

    name: str
    percentiles: dict[str, float]
    kind: Kind
    quantiles: tuple[float, ...] = ()


@dataclass(frozen=True)
class Bar:
    """A line of a bar chart, `whole` behind `value` where there is something to compare with."""

    name: str
    value: float
    told: str
    whole: float | None = None


@dataclass(frozen=True)
class Difference:
    """A line of a chart of differences: a dot with its interval as whiskers, pale where it tells nothing."""

    name: str
    value: float
    interval: tuple[float, float]
    told: str
    is_measurable: bool


def unbeaten(points: Iterable[Point]) -> list[Point]:
    """Those without fault that no other beats in both, from cheap to dear."""
    return fronts.unbeaten((p for p in points if p.kind != "fault"), lambda p: p.x, lambda p: p.y)


def front(points: Sequence[Point], x: str, y: str, size: Size, least: float | None = None) -> str:
    """Accuracy over cost, with the front as stairs; `x` and `y` title the axes, `least` is the accuracy allowed.

    Labels lie on no mark and on no other: the unpruned, the selected and the ends of the front have theirs first, and
    where there is no room for one, it is left out.
    """
    import altair as alt

    across = alt.X("x:Q", title=x, scale=alt.Scale(zero=True, nice=True), axis=_axis())
    scale = alt.Scale(zero=False, nice=True, padding=8)
    if points and min(p.y for p in points) < NEAR_ZERO * max(p.y for p in points):
        scale = alt.Scale(
            domain=[0, HEADROOM * max(p.y_interval[1] if p.y_interval else p.y for p in points)], nice=True
        )
    up = alt.Y("y:Q", title=y, scale=scale, axis=_axis())
    best = unbeaten(points)
    stairs = alt.Chart(_values([{"x": p.x, "y": p.y} for p in best])).mark_line(
        interpolate="step-after", color=SOFT, strokeDash=[2, 3], strokeWidth=1.2
    )
    layers = [
        stairs.encode(x=across, y=up).properties(name=svg.STAIRS),
        _whiskers(points, "x").properties(name="across"),
        _whiskers(points, "y").properties(name="up"),
        _dots(points, across, up).properties(name="dots"),
    ]
    foremost = [p for p in points if p.kind in ("selected", "baseline") or p in (*best[:1], *best[-1:])]
    layers.append(_labels(foremost).properties(name="foremost"))
    if least is not None:
        layers += _least(least, "least accuracy allowed")
    layers.append(_labels([p for p in points if p not in foremost]).properties(name="others"))
    told = f"{y} over {x} of {len(points)} points; the tables of this page have the figures"
    return _svg(layers, size, told)


def ladder(steps: Sequence[Step], task: str, size: Size, least: float | None = None) -> str:
    """mAP50-95 of each rung before and after fine-tuning."""
    import altair as alt

    rows = [_rung(step) for step in steps]
    rung = _rungs(steps)
    up = alt.Y("after:Q", title=f"{task} mAP50-95", scale=alt.Scale(zero=True, nice=True), axis=_axis())
    accepted = alt.Chart(_values([row for row, step in zip(rows, steps, strict=True) if step.accepted]))
    tuned = alt.Chart(_values(rows))
    pruned = alt.Chart(_values([row for row in rows if row["before"] is not None]))
    opacity = alt.Opacity("opacity:Q", scale=None)
    layers = [
        accepted.mark_line(color=LEAF, strokeWidth=2).encode(x=rung, y=up),
        pruned.mark_rule(color=CLAY, strokeDash=[2, 3], strokeWidth=2).encode(
            x=rung, y="before:Q", y2="after:Q", opacity=opacity
        ),
        pruned.mark_point(shape="diamond", filled=True, fill=CARD, stroke=CLAY, strokeWidth=2, size=80).encode(
            x=rung, y="before:Q", opacity=opacity, description="told:N"
        ),
        tuned.mark_point(filled=True, fill=LEAF, size=90).encode(x=rung, y=up, opacity=opacity, description="told:N"),
    ]
    if least is not None:
        layers += _least(least, "least allowed")
    return _svg(layers, size, f"{task} mAP50-95 before and after fine-tuning at each rung")


def macs(steps: Sequence[Step], size: Size) -> str:
    """MACs of each rung."""
    import altair as alt

    rows = [_rung(step) for step in steps]
    shown = rows if len(rows) <= FEW_RUNGS else [rows[0], rows[-1]]
    rung = _rungs(steps)
    up = alt.Y("macs:Q", title="MACs, G", scale=alt.Scale(zero=True, nice=True), axis=_axis())
    bars = alt.Chart(_values(rows)).mark_bar(fill=LEAF)
    names = alt.Chart(_values(shown)).mark_text(dy=-8, color=INK)
    layers = [
        bars.encode(x=rung, y=up, opacity=alt.Opacity("opacity:Q", scale=None), description="told:N"),
        names.encode(x=rung, y=up, text="cost:N"),
    ]
    return _svg(layers, size, "MACs at each rung, G")


def latencies(spreads: Sequence[Spread], width: int) -> str:
    """Percentiles of each file's forward pass, a line a file, its name above it; a stroke for each quantile, so that
    they are dense where most passes lie."""
    import altair as alt

    rows = [
        {
            "name": spread.name,
            "ms": ms,
            "percentile": percentile,
            "told": f"{spread.name}: {percentile} {ms:.1f} ms",
            "color": _color(spread),
            "size": 110 if place == 0 else 40,
        }
        for spread in spreads
        for place, (percentile, ms) in enumerate(spread.percentiles.items())
    ]
    line = alt.Y("name:N", sort=None, axis=None, scale=alt.Scale(paddingInner=0))
    across = alt.X("ms:Q", title="ms, forward pass", scale=alt.Scale(zero=True, nice=True), axis=_axis())
    color = alt.Color("color:N", scale=None)
    base = alt.Chart(_values(rows))
    strokes = [{"name": s.name, "ms": ms, "color": _color(s)} for s in spreads for ms in s.quantiles]
    layers = [
        alt.Chart(_values(strokes))
        .mark_tick(aria=False, thickness=1.5, size=14, opacity=0.45)
        .encode(x=across, y=line, color=color),
        base.mark_line(strokeWidth=2).encode(x=across, y=line, detail="name:N", color=color),
        base.mark_point(filled=True, opacity=1).encode(
            x=across, y=line, color=color, size=alt.Size("size:Q", scale=None), description="told:N"
        ),
        alt.Chart(_values([{"name": spread.name, "zero": 0} for spread in spreads]))
        .mark_text(align="left", dy=-13, color=INK)
        .encode(x=alt.X("zero:Q"), y=line, text="name:N"),
    ]
    told = f"{', '.join(spreads[0].percentiles) if spreads else ''} of the latency of each candidate"
    return _svg(layers, (width, 44 * len(spreads)), told)


def bars(found: Sequence[Bar], x: str, width: int) -> str:
    """A line for each in the order given, also where names are alike; the names stand above the bars."""
    import altair as alt

    rows = [asdict(bar) | {"line": line, "zero": 0} for line, bar in enumerate(found)]
    line = alt.Y("line:N", sort=None, axis=None, scale=alt.Scale(paddingInner=0.62, paddingOuter=0.5))
    across = alt.X("value:Q", title=x, scale=alt.Scale(zero=True, nice=True), axis=_axis())
    base = alt.Chart(_values(rows))
    behind = alt.Chart(_values([row for row in rows if row["whole"] is not None]))
    layers = [
        behind.mark_bar(fill=LINE).encode(x=alt.X("whole:Q"), y=line),
        base.mark_bar(fill=LEAF).encode(x=across, y=line, description="told:N"),
        base.mark_text(align="left", dy=-11, fontSize=11, color=INK).encode(x=alt.X("zero:Q"), y=line, text="name:N"),
    ]
    return _svg(layers, (width, 26 * len(found)), f"{x} of each of {len(found)}; the table has the figures")


def differences(found: Sequence[Difference], x: str, width: int) -> str:
    """A dot and its whiskers for each in the order given, the names above them, and a line at 0."""
    import altair as alt

    rows = [
        {
            "name": one.name,
            "value": one.value,
            "low": one.interval[0],
            "high": one.interval[1],
            "told": one.told,
            "color": SOFT if not one.is_measurable else CLAY if one.value < 0 else LEAF,
        }
        for one in found
    ]
    line = alt.Y("name:N", sort=None, axis=None, scale=alt.Scale(paddingInner=0))
    across = alt.X("value:Q", title=x, scale=alt.Scale(zero=True, nice=True), axis=_axis())
    color = alt.Color("color:N", scale=None)
    base = alt.Chart(_values(rows))
    layers = [
        alt.Chart(_values([{"value": 0}])).mark_rule(color=SOFT).encode(x=across),
        base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q"), x2="high:Q", y=line, color=color),
        base.mark_point(filled=True, opacity=1, size=80).encode(x=across, y=line, color=color, description="told:N"),
        base.mark_text(align="left", dy=-12, fontSize=12, color=INK).encode(x=alt.value(0), y=line, text="name:N"),
    ]
    return _svg(layers, (width, 34 * len(found)), f"{x} of each of {len(found)}; the table has the figures")


def _color(spread: Spread) -> str:
    return LEAF if spread.kind == "selected" else BAD if spread.kind == "fault" else SOFT


def _precedence(point: Point) -> int:
    """Whose label is placed first."""
    return ("selected", "baseline", "front", "dominated", "fault").index(point.kind)


def _dots(points: Sequence[Point], across: altair.X, up: altair.Y) -> Any:
    import altair as alt

    rows = [
        {"x": p.x, "y": p.y, "told": p.told or p.name} | _LOOK[p.kind]
        for p in sorted(points, key=_precedence, reverse=True)
    ]
    return (
        alt.Chart(_values(rows))
        .mark_point(filled=True, opacity=1, strokeWidth=2)
        .encode(
            x=across,
            y=up,
            fill=alt.Fill("fill:N", scale=None),
            stroke=alt.Stroke("stroke:N", scale=None),
            shape=alt.Shape("shape:N", scale=None),
            size=alt.Size("size:Q", scale=None),
            description="told:N",
        )
    )


def _labels(points: Sequence[Point]) -> Any:
    """Each at its mark, for `svg.polished` to find room beside it."""
    import altair as alt

    rows = [
        {"x": p.x, "y": p.y, "label": p.label, "selected": p.kind == "selected"}
        for p in sorted(points, key=_precedence)
        if p.label
    ]
    color = alt.ExprRef(f"datum.selected ? '{LEAF}' : '{INK}'")
    weight = alt.ExprRef("datum.selected ? 'bold' : 'normal'")
    return (
        alt.Chart(_values(rows))
        .mark_text(clip=True, align="left", baseline="alphabetic", fill=color, fontWeight=weight)
        .encode(x=alt.X("x:Q"), y=alt.Y("y:Q"), text="label:N")
    )


def _whiskers(points: Sequence[Point], axis: Literal["x", "y"]) -> Any:
    import altair as alt

    spans = [(p, p.x_interval if axis == "x" else p.y_interval) for p in points]
    rows = [  # neither a time nor an accuracy is below 0, wherever an interval around it ends
        {"x": p.x, "y": p.y, "low": max(span[0], 0.0), "high": span[1]}
        for p, span in spans
        if span and span[0] < span[1]
    ]
    rule = alt.Chart(_values(rows)).mark_rule(color=SOFT, strokeWidth=1.4)
    if axis == "x":
        return rule.encode(x=alt.X("low:Q"), x2="high:Q", y=alt.Y("y:Q"))
    return rule.encode(y=alt.Y("low:Q"), y2="high:Q", x=alt.X("x:Q"))


def _least(accuracy: float, told: str) -> list[Any]:
    import altair as alt

    base = alt.Chart(_values([{"least": accuracy, "text": told}]))
    rule = base.mark_rule(color=CLAY, strokeDash=[5, 4]).encode(y=alt.Y("least:Q"))
    name = base.mark_text(clip=True, align="left", baseline="alphabetic", color=CLAY, fontSize=12).encode(
        y=alt.Y("least:Q"), x=alt.value(0), text="text:N"
    )
    return [rule.properties(name="least"), name.properties(name="level")]


def _rungs(steps: Sequence[Step]) -> altair.X:
    import altair as alt

    axis = alt.Axis(labelAngle=0, grid=False, labelOverlap=True, title="rung")
    return alt.X("name:N", sort=[step.name for step in steps], scale=alt.Scale(padding=0.4), axis=axis)


def _rung(step: Step) -> dict[str, Any]:
    before = "" if step.before is None else f"pruned {step.before:.3f}, fine-tuned "
    if step.undone is not None:
        before += f"{step.undone:.3f}, undone: "
    refused = "" if step.accepted else ", rejected"
    return {
        "name": step.name,
        "before": step.before,
        "after": step.after,
        "macs": step.macs_g,
        "cost": step.cost,
        "opacity": 1 if step.accepted else 0.45,
        "told": f"{step.name}: {before}{step.after:.3f}, {step.macs_g:.2f} G MACs{refused}",
    }


def _axis() -> altair.Axis:
    import altair as alt

    return alt.Axis(tickCount=5, domain=False, ticks=False)


def _values(rows: Sequence[dict[str, Any]]) -> altair.InlineData:
    import altair as alt

    return alt.InlineData(values=list(rows))


def _svg(layers: Sequence[Any], size: Size, told: str) -> str:
    """The drawing; `told` is its text for who cannot see it."""
    import altair as alt
    import vl_convert

    width, height = size
    config = {
        "background": None,
        "font": _FONT,
        "view": {"stroke": None},
        "text": {"fontSize": 13},
        "axis": {
            "labelColor": SOFT,
            "labelFontSize": 12,
            "titleColor": SOFT,
            "titleFontSize": 12,
            "titleFontWeight": "normal",
            "gridColor": LINE,
        },
    }
    spec = alt.layer(*layers).properties(width=width, height=height, padding=4).to_dict(validate=False) | {
        "config": config
    }
    vega: dict[str, Any] = vl_convert.vegalite_to_vega(spec)
    drawn = {mark["name"] for mark in vega["marks"]}
    vega["marks"] += [svg.widths(layer) for layer in svg.LABELS if f"{layer}_marks" in drawn]
    return svg.polished(vl_convert.vega_to_svg(vega), told, Box(0, 0, width, height))
