"""Runs side by side: for the terminal, as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.console import Group as Stack
from rich.table import Table
from rich.text import Text

from secateur.comparisons import Comparison, Entry, Group
from secateur.offers import Nothing, Offer
from secateur.reporting.summary import change_interval, is_measurable, useless
from secateur.reporting.table import NONE, billions, megabytes, millions, score, with_interval
from secateur.worth import Rival, Verdict, weigh

ASKED_WIDTH = 32
SHORT = 8
"""What is no wider, in cells, stays in one line."""

LIMIT = 40
"""Lines of a table in the terminal; of files, those of the front first."""

METHOD = (
    "● no other is both as accurate and as fast. Ranked by the unpruned FP32's time, median of all runs, over each "
    "file's own paired speed-up (95 % interval); ms are as measured. The change of {task} mAP is to the run's own "
    "unpruned FP32 (95 % interval over the pictures)."
)

Offers = Mapping[int, Offer | Nothing]
"""By the place of their group."""


def tables(found: Comparison, offers: Offers | None = None, limit: int = LIMIT) -> RenderableType:
    """A table a group, since nothing is compared across them; below, why other runs are not in it."""
    parts: list[RenderableType] = []
    if len(found.groups) > 1:
        parts += [Text(f"{len(found.groups)} groups that are not compared: they differ in {_differences(found)}"), ""]
    for number, group in enumerate(found.groups):
        parts += [_Lines(group, limit, titled=len(found.groups) > 1), Text(method(group), style="dim")]
        parts += ["", *map(Text, worth(group))]
        parts += ["", *_offered(group, offers[number])] if offers else []
        parts.append("")
    return Stack(*parts, *_endings(found))


def markdown(found: Comparison, offers: Offers | None = None) -> str:
    """The same tables."""
    blocks = []
    for number, group in enumerate(found.groups):
        columns = cells(group, group.entries)
        lines = [list(columns), ["---"] * len(columns), *zip(*columns.values(), strict=True)]
        blocks += [f"**{_title(group)}**", "\n".join(map(markdown_line, lines)), method(group)]
        blocks += worth(group)
        blocks += [line.plain for line in _offered(group, offers[number])] if offers else []
    return "\n\n".join([*blocks, *(line.plain for line in _endings(found))]) + "\n"


def markdown_line(cells: Sequence[str]) -> str:
    """A line of a table."""
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def as_csv(found: Comparison) -> str:
    """A line a file; names and units as in MLflow where it has them."""
    return csv_of([plain for group in found.groups for plain in _plain(group)])


def csv_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """With the keys of the first as heads; nothing where there is none."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def as_json(found: Comparison, offers: Offers | None = None) -> str:
    """Everything: groups with their files, the offers, and the runs that are not compared."""
    groups = [
        {"setting": asdict(group.setting), "files": list(_plain(group)), "worth": " ".join(worth(group)) or None}
        | ({"offer": _plain_offer(offers[number])} if offers else {})
        for number, group in enumerate(found.groups)
    ]
    endings = {run: {"status": status, "reason": reason} for run, (status, reason) in found.endings.items()}
    return json.dumps({"groups": groups, "not_compared": endings}, indent=2, allow_nan=True) + "\n"


def _plain(group: Group) -> Iterator[dict[str, Any]]:
    """Flat, so that a spreadsheet takes it."""
    best = set(map(id, group.front))
    for entry in group.entries:
        row: dict[str, Any] = asdict(group.setting) | {"front": id(entry) in best}
        for field in fields(entry):
            value = getattr(entry, field.name)
            if field.name in ("box_change", "mask_change"):
                row |= {f"{field.name}{end}": getattr(value, name, None) for name, end in _ENDS.items()}
            elif field.name == "speedup":
                row |= {"speedup": value.median, "speedup_low": value.low, "speedup_high": value.high}
            else:
                row[field.name] = value
        yield row


_ENDS = {"observed": "", "low": "_low", "high": "_high"}


def _plain_offer(offer: Offer | Nothing) -> dict[str, Any]:
    if isinstance(offer, Nothing):
        near = {"run": offer.nearest.run, "file": offer.nearest.file, "lacks": list(map(str, offer.lacks))}
        return {"ship": None, "nearest": near}
    better = [{"run": e.run, "file": e.file, "lacks": list(map(str, lacks))} for e, lacks in offer.better]
    chosen = {"run": offer.entry.run, "file": offer.entry.file, "place": offer.entry.place}
    return {"ship": chosen, "why": offer.why, "unsure": list(map(str, offer.unsure)), "better": better}


def _differences(found: Comparison) -> str:
    settings = [asdict(group.setting) for group in found.groups]
    return ", ".join(name for name in settings[0] if len({setting[name] for setting in settings}) > 1)


def _title(group: Group) -> str:
    return "; ".join(asdict(group.setting).values())


def method(group: Group) -> str:
    """How the figures of a group came about."""
    shared = _shared(group)
    return METHOD.format(task=group.setting.task) + (f" Runs are of {shared}." if shared else "")


@dataclass(frozen=True)
class _Lines:
    """A group as a table with as many of its columns as there is room for."""

    group: Group
    limit: int
    titled: bool

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        best = set(map(id, self.group.front))
        shown = _first(self.group, best, self.limit)
        columns = _fitting(cells(self.group, shown), options.max_width)
        title = Text(_title(self.group)) if self.titled else None
        table = Table(title=title, title_justify="left", title_style="", box=None, padding=(0, 1, 0, 0), pad_edge=False)
        for name in columns:
            table.add_column(
                name,
                justify="left" if name in _NAMES else "right",
                overflow="fold",
                no_wrap=name not in ("run", "asked") or _width(name, columns[name]) <= SHORT,
                max_width=ASKED_WIDTH if name == "asked" else None,
            )
        for entry, told in zip(shown, zip(*columns.values(), strict=True), strict=True):
            style = "red" if entry.problem else None if id(entry) in best else "dim"
            table.add_row(*map(Text, told), style=style)
        yield table
        yield from more(len(self.group.entries) - len(shown))


def more(left: int) -> list[Text]:
    """That so many lines are left out, where some are."""
    return [Text(f"{left} more: --limit 0 tells them too", style="dim")] if left else []


def _first(group: Group, best: set[int], limit: int) -> list[Entry]:
    """The front, and of the others as many as there is room for."""
    if not limit or len(group.entries) <= limit:
        return list(group.entries)
    kept = set(list(map(id, sorted(group.entries, key=lambda entry: id(entry) not in best)))[:limit])
    return [entry for entry in group.entries if id(entry) in kept]


_NAMES = ("", "run", "asked", "file", "verdict")
_DISPENSABLE = ("p95", "params", "MB", "box", "verdict", "MACs", "p50 ms", "mask change", "box change", "asked")
"""Where a terminal is too narrow, in this order."""


def _fitting(columns: dict[str, list[str]], width: int) -> dict[str, list[str]]:
    kept = dict(columns)
    for name in _DISPENSABLE:
        if sum(1 + _width(head, cells) for head, cells in kept.items()) <= width:
            break
        kept.pop(name, None)
    return kept


def _width(head: str, cells: list[str]) -> int:
    widest = max(map(cell_len, [head, *cells]))
    return min(widest, ASKED_WIDTH) if head == "asked" else widest


def cells(group: Group, entries: Sequence[Entry]) -> dict[str, list[str]]:
    """Those of each column, by its head; those that nobody needs are left out."""
    best, shared = set(map(id, group.front)), _shared(group)
    rows = [_row(entry, id(entry) in best, group.setting.task, shared) for entry in entries]
    columns = {head: [row[head] for row in rows] for head in rows[0]}
    return {head: cells for head, cells in columns.items() if head != "asked" or any(cells)}


def _shared(group: Group) -> str:
    """The sweep or search that all runs are of; nothing where they are of several, or of none."""
    (first, *others) = {entry.run.rpartition("/")[0] for entry in group.entries}
    return "" if others else first


def _row(entry: Entry, is_best: bool, task: str, shared: str) -> dict[str, str]:
    batch = f" (batch {entry.batch})" if entry.batch != 1 else ""
    return {
        "": "●" if is_best else "",
        "run": f"…{entry.run.removeprefix(shared)}" if shared else entry.run,
        "asked": entry.asked,
        "file": entry.file,
        "params": millions(entry.params),
        "MACs": billions(entry.macs),
        "MB": megabytes(entry.size_bytes),
        "box": score(entry.box_map50_95),
        "mask": score(entry.mask_map50_95),
        f"{task} change": change_interval(entry.change) if entry.change else NONE,
        "p50 ms": f"{entry.p50_ms:.1f}{batch}",
        "p95": f"{entry.p95_ms:.1f}",
        "speed-up": "1×" if entry.is_unpruned else with_interval(entry.speedup),
        "verdict": verdict(entry),
    }


def verdict(entry: Entry) -> str:
    """`faster, mAP differs`: against the run's own unpruned FP32, by the 95 % intervals."""
    if entry.problem:
        return entry.problem
    if entry.is_unpruned:
        return "unpruned"
    speed = ("faster" if entry.speedup.low > 1 else "slower") if is_measurable(entry.speedup) else "speed alike"
    if entry.change is None:
        return speed
    return f"{speed}, mAP {'differs' if entry.change.is_measurable else 'does not differ'}"


WORTH = {
    Verdict.WORTH: "Pruning was worth it",
    Verdict.NOT_SHOWN: "Pruning is not shown to be worth it",
    Verdict.OPEN: "Whether pruning was worth it is open",
}


def worth(group: Group) -> list[str]:
    """Whether pruning was worth it, and whether its criterion was, with the figures of the pruned file that stands best
    and of its rivals; none where that cannot be said, and why where the unpruned net finds nothing."""
    if group.reference and (doubt := useless(group.reference.accuracy)):
        return [doubt]
    weighed = weigh(group)
    if weighed is None:
        return []
    fast = [_rival(rival) for rival in weighed.rivals if rival.as_fast]
    slow = [_rival(rival) for rival in weighed.rivals if not rival.as_fast]
    best = f" (the best of {weighed.of})" if weighed.of > 1 else ""
    told = f"{WORTH[weighed.verdict]}: {_figures(weighed.pruned)}{best}"
    told += f"; as fast: {', '.join(fast)}" if fast else "; nothing that costs less effort is as fast"
    told += f"; not as fast: {', '.join(slow)}." if slow else "."
    return [told, *([_lot(weighed.at_random)] if weighed.at_random else [])]


def _rival(rival: Rival) -> str:
    return f"{rival.kind} ({_figures(rival.entry)}{DIFFERS[rival.differs] if rival.as_fast else ''})"


def _lot(rival: Rival) -> str:
    """What as many channels, taken at random, come to."""
    verdict = "lose more than the chosen ones" if rival.is_beaten else "are not shown to be worse than the chosen ones"
    return f"As many channels at random {verdict}: {_figures(rival.entry)}{DIFFERS[rival.differs]}."


DIFFERS = {True: "", False: ", which does not differ", None: ", as measured"}


def _figures(entry: Entry) -> str:
    return f"{entry.file} at {entry.imgsz} px with mAP {score(entry.accuracy)} in {entry.latency_ms:.1f} ms"


def _offered(group: Group, offer: Offer | Nothing) -> Iterator[Text]:
    """Its lines, indented below the first, and what to type next."""
    first, *others = offer_lines(group, offer)
    yield Text(f"▶ {first}", style="bold")
    yield from (Text(f"  {line}") for line in others)
    if isinstance(offer, Offer):
        yield from (Text(f"  {line}", style="dim") for line in passed_over(offer))
        yield Text(f"  {following(offer)}")


def offer_lines(group: Group, offer: Offer | Nothing) -> Iterator[str]:
    """What to ship and why; or that nothing fits, and what comes nearest."""
    if isinstance(offer, Nothing):
        near = f"{offer.nearest.file} of {offer.nearest.run}"
        yield f"Nothing fits. The nearest is {near}: {_told(offer.lacks)}"
        return
    entry = offer.entry
    yield f"Ship {entry.file} of {entry.run}: {offer.why}."
    if offer.measured:
        told = ", ".join(f"{name} {value:.3g}" for name, value in offer.measured.items())
        yield f"To the unpruned FP32 that all here are compared with: {told}. To its own run's:"
    yield _facts(group, entry)
    if offer.unsure:
        yield f"As measured only; with the worse end of its 95 % interval {_told(offer.unsure)}."


def passed_over(offer: Offer) -> Iterator[str]:
    """What the files lack that would be better, but for the budget."""
    for other, lacks in offer.better:
        asked = f" ({other.asked})" if other.asked else ""
        yield f"Not {other.file} of {other.run}{asked}: {_told(lacks)}."


def following(offer: Offer) -> str:
    """What to type next, where there is something to bundle."""
    if command := bundling(offer):
        return f"Next     {command}"
    return f"{offer.entry.place} holds records and no models: the run's own command makes them again"


def bundling(offer: Offer) -> str | None:
    """The command that makes a bundle of what is offered; None where its model is not here."""
    return f"secateur bundle {offer.entry.place} --ship {offer.entry.file}" if offer.entry.is_here else None


def _facts(group: Group, entry: Entry) -> str:
    lost = f", {change_interval(entry.change)}" if entry.change else ""
    fast = f"{with_interval(entry.speedup)} as fast as the unpruned FP32"
    mb, task = megabytes(entry.size_bytes), group.setting.task
    return f"{task} mAP {score(entry.accuracy)}{lost}, {entry.p50_ms:.1f} ms, {fast}, {mb} MB; {verdict(entry)}"


def _told(lacks: tuple[Any, ...]) -> str:
    return "; ".join(map(str, lacks))


def _endings(found: Comparison) -> list[Text]:
    """Why a run did not come to its end; that of a search that was stopped early is no fault."""
    return [
        Text(f"{run} {status}: {reason}", style="dim" if status in ("stopped", "finished") else "red")
        for run, (status, reason) in found.endings.items()
    ]


FORMATS: dict[str, Callable[[Comparison, Offers | None], str]] = {
    "markdown": markdown,
    "csv": lambda found, _: as_csv(found),
    "json": as_json,
}
"""Besides the terminal's."""
