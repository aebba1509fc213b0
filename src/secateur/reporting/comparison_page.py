"""Runs side by side as one page that needs no network and no JavaScript."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from markupsafe import Markup

from secateur.comparisons import Comparison, Entry, Group
from secateur.offers import Nothing, Offer
from secateur.reporting import charts
from secateur.reporting.charts import Kind, Point, Size
from secateur.reporting.comparison import Offers, bundling, cells, method, offer_lines, passed_over, verdict, worth
from secateur.reporting.pages import environment
from secateur.reporting.run_charts import PHONE, SMALL, WIDE
from secateur.reporting.summary import change_interval, ratio
from secateur.reporting.table import NONE, billions, megabytes, score, with_interval
from secateur.worth import is_pruned

TEMPLATE = "comparison.html.j2"

FIRST = ("run", "", "file", "mask", "speed-up", "p50 ms", "verdict")
"""Columns of the table that are seen without scrolling, on any screen but a phone's."""

BELOW = {"asked": "run", "mask change": "mask", "box change": "box"}
"""Columns whose cells stand small below those of another."""

WORDS = ("run", "file", "verdict")
"""Columns of words, which begin at the left and may be broken."""

LABELLED = 12
"""Where there are no more files than this, all are named in the chart of latencies, as far as there is room; else those
of the front, or of a longer front the ends. All are in the table."""

COSTS: dict[str, Callable[[Entry], float]] = {
    "latency, ms": lambda entry: entry.latency_ms,
    "MACs, G": lambda entry: entry.macs / 1e9,
    "file, MB": lambda entry: entry.size_bytes / 1e6,
}
LATENCY, MACS, SIZE = COSTS


@dataclass(frozen=True)
class Cell:
    """Of the table: what it says, what stands small below, and whether it is of words."""

    text: str
    below: str
    words: bool


@dataclass(frozen=True)
class Section:
    """A group: what it says in words, its charts and its table."""

    setting: dict[str, str]
    headline: str
    worth: list[str]
    offer: list[str]
    passed_over: list[str]
    bundling: str | None
    front: Markup
    front_phone: Markup
    front_macs: Markup
    front_size: Markup
    heads: list[tuple[str, bool]]
    rows: list[tuple[str, list[Cell]]]
    method: str


def page(found: Comparison, title: str, command: str, offers: Offers | None = None) -> str:
    """What `command` shows, whole; with `offers`, what of each group to ship."""
    sections = [_section(group, offers[number] if offers else None) for number, group in enumerate(found.groups)]
    return (
        environment()
        .get_template(TEMPLATE)
        .render(title=title, command=command, sections=sections, endings=found.endings)
    )


def headline(group: Group) -> str:
    """What the front is made of; no more than was measured."""
    reference = group.reference
    others = [entry for entry in group.front if not entry.is_unpruned]
    if reference is None or not others:
        return f"None of {len(group.ranked)} files is both of use and faster than the unpruned FP32."
    made = Counter(_sort(entry, reference) for entry in others)
    told = ", ".join(f"{count} {sort}" for sort, count in made.most_common())
    fastest = ratio(reference.latency_ms / others[0].latency_ms, 2)
    whole = f"{len(others)} of {len(group.ranked)} files are beaten by none in both mAP and time: {told}"
    mean_ap = f"{group.setting.task} mAP {score(others[0].accuracy)} for {score(reference.accuracy)}"
    least = f"the fastest is {fastest} as fast as the unpruned FP32 at {reference.imgsz} px, at {mean_ap}"
    return f"{whole}; {least}."


def front_of(group: Group) -> str:
    """mAP over latency of all files that can be ranked, as SVG; of many, the front alone is named."""
    return _drawn(group, {id(entry) for entry in group.front}, LATENCY, WIDE)


def _sort(entry: Entry, reference: Entry) -> str:
    """`pruned int8_static`, `unpruned int8_static at 96 px`."""
    size = "" if entry.imgsz == reference.imgsz else f" at {entry.imgsz} px"
    return f"{'pruned' if is_pruned(entry) else 'unpruned'} {entry.file.partition('-')[2] or entry.file}{size}"


def _section(group: Group, offer: Offer | Nothing | None) -> Section:
    best = {id(entry) for entry in group.front}
    columns = _stacked(cells(group, group.entries))
    heads = [head for head in FIRST if head in columns]
    heads += [head for head in columns if head not in heads]
    kinds = [_kind(entry, best) for entry in group.entries]
    fits = offer if isinstance(offer, Offer) else None
    return Section(  # Markup, as the drawings are our own
        setting=asdict(group.setting),
        headline=headline(group),
        worth=worth(group),
        offer=list(offer_lines(group, offer)) if offer else [],
        passed_over=list(passed_over(fits)) if fits else [],
        bundling=bundling(fits) if fits else None,
        front=Markup(_drawn(group, best, LATENCY, WIDE)),
        front_phone=Markup(_drawn(group, best, LATENCY, PHONE)),
        front_macs=Markup(_drawn(group, best, MACS, SMALL)),
        front_size=Markup(_drawn(group, best, SIZE, SMALL)),
        heads=[(head or "front", head in WORDS) for head in heads],
        rows=list(zip(kinds, map(list, zip(*(columns[head] for head in heads), strict=True)), strict=True)),
        method=method(group),
    )


def _stacked(columns: dict[str, list[str]]) -> dict[str, list[Cell]]:
    """What stands in BELOW, and intervals in brackets, each below what it belongs to."""
    found = {}
    for head, told in columns.items():
        if head not in BELOW:
            beside = [columns[name] for name, above in BELOW.items() if above == head and name in columns]
            found[head] = [_cell(texts, head in WORDS) for texts in zip(told, *beside, strict=True)]
    return found


def _cell(texts: Sequence[str], words: bool) -> Cell:
    first, *below = texts
    text, bracket, rest = first.partition(" (")
    return Cell(text, " ".join(each for each in (bracket.strip() + rest, *below) if each not in ("", NONE)), words)


def _drawn(group: Group, best: set[int], cost: str, size: Size) -> str:
    names = set(map(id, _named(group))) if cost == LATENCY else set()
    points = [_point(entry, best, cost, id(entry) in names) for entry in group.ranked]
    return charts.front(points, cost, f"{group.setting.task} mAP50-95", size)


def _named(group: Group) -> Sequence[Entry]:
    if len(group.ranked) <= LABELLED:
        return group.ranked
    return group.front if len(group.front) <= LABELLED else (group.front[0], group.front[-1])


def _point(entry: Entry, best: set[int], cost: str, named: bool) -> Point:
    what = f"{entry.file} {entry.asked}".strip()
    return Point(
        name=f"{entry.run} {entry.file}",
        x=COSTS[cost](entry),
        y=entry.accuracy,
        x_interval=entry.speedup.around_ms(entry.latency_ms) if cost == LATENCY and named else None,
        y_interval=entry.change.around(entry.accuracy) if named and entry.change else None,
        kind=_kind(entry, best),
        label=_label(entry) if named else "",
        told=f"{entry.run}: {what}, mAP {score(entry.accuracy)}"
        + (f" ({change_interval(entry.change)})" if entry.change else "")
        + f", {entry.latency_ms:.1f} ms, {with_interval(entry.speedup)}, {billions(entry.macs)}, "
        f"{megabytes(entry.size_bytes)} MB; {verdict(entry)}",
    )


def _label(entry: Entry) -> str:
    """The file, and of what was asked what it does not say itself, in few words: the table has it all."""
    asked = (override.partition("=") for override in entry.asked.split())
    return " ".join([entry.file, *(_short(key, value) for key, _, value in asked if key != "quantization")])


def _short(key: str, value: str) -> str:
    """A name speaks for itself; a number or a switch does not."""
    speaks = value[:1].isalpha() and value not in ("true", "false", "null", "none")
    return value if speaks else f"{key.rpartition('.')[2]}={value}"


def _kind(entry: Entry, best: set[int]) -> Kind:
    if entry.problem:
        return "fault"
    if entry.is_unpruned:
        return "baseline"
    return "front" if id(entry) in best else "dominated"
