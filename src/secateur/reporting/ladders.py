"""The ladders of runs side by side: for the terminal, as Markdown, CSV and JSON."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from secateur.ladders import Ladders, Step
from secateur.reporting import charts
from secateur.reporting.charts import Bar
from secateur.reporting.comparison import LIMIT, csv_of, markdown_line, more
from secateur.reporting.run_charts import WIDE
from secateur.reporting.table import billions, millions, score

HEADS = ("run", "asked", "rung", "gone", "params", "MACs", "box", "mask")
METHOD = (
    "mAP50-95 of checkpoints: after pruning and healing → after fine-tuning; one figure where nothing was trained. "
    "Runs stand by their last rung, the most accurate first; (refused): more was lost than max_map_drop allows; "
    "(undone): a training that made the net measurably worse."
)


def tables(found: Sequence[Ladders], limit: int = LIMIT) -> RenderableType:
    """A table a setting, since accuracies on other pictures are not compared; in whole ladders `limit` lines at
    most, 0: all."""
    parts: list[RenderableType] = []
    for group in found:
        title = Text(group.setting) if len(found) > 1 else None
        table = Table(title=title, title_justify="left", title_style="", box=None, padding=(0, 1, 0, 0), pad_edge=False)
        for head in HEADS:
            table.add_column(head, justify="left" if head in ("run", "asked") else "right", overflow="fold")
        shown = _as_many(group, limit)
        for row in itertools.islice(_rows(group), shown):
            table.add_row(*map(Text, row))
        parts += [table, *more(len(group.steps) - shown), ""]
    return Group(*parts, Text(METHOD, style="dim"))


def markdown(found: Sequence[Ladders]) -> str:
    """The same tables."""
    blocks = []
    for group in found:
        lines = [HEADS, ["---"] * len(HEADS), *_rows(group)]
        blocks += [f"**{group.setting}**", "\n".join(map(markdown_line, lines))]
    return "\n\n".join([*blocks, METHOD]) + "\n"


def as_csv(found: Sequence[Ladders]) -> str:
    """A line a net."""
    return csv_of([{"setting": group.setting} | asdict(step) for group in found for step in group.steps])


def as_json(found: Sequence[Ladders]) -> str:
    """Everything."""
    return json.dumps([asdict(group) for group in found], indent=2, allow_nan=True) + "\n"


def last_rungs(group: Ladders) -> str:
    """As SVG, what each run ends at, as bars with the unpruned net's accuracy behind; the most accurate first."""
    ends = {step.run: step for step in group.steps if step.rung > 0}
    bars = [
        Bar(
            name=f"{step.asked or step.run}  {_ends_at(step)}",
            value=step.accuracy,
            told=f"{step.run}: box {score(step.box_tuned)}, mask {score(step.mask_tuned)}",
            whole=step.unpruned,
        )
        for step in ends.values()
    ]
    kind = "box" if any(step.mask_tuned is None for step in ends.values()) else "mask"
    return charts.bars(bars, f"{kind} mAP50-95 after the last rung", WIDE[0])


def _as_many(group: Ladders, limit: int) -> int:
    """Lines that can be shown so that no run's ladder breaks off; that of the first run may."""
    steps = group.steps
    if not limit or len(steps) <= limit:
        return len(steps)
    ends = [n for n in range(1, limit + 1) if steps[n].run != steps[n - 1].run and steps[n - 1].rung > 0]
    return max(ends, default=limit)


def _rows(group: Ladders) -> Iterator[tuple[str, ...]]:
    shared = {step.run.rpartition("/")[0] for step in group.steps}
    prefix = shared.pop() if len(shared) == 1 else ""
    sizes = len({step.imgsz for step in group.steps}) > 1
    for step in group.steps:
        run = f"…{step.run.removeprefix(prefix)}" if prefix else step.run
        name = (f"unpruned, {step.imgsz} px" if sizes else "unpruned") if step.rung == 0 else run
        yield (
            name,
            step.asked,
            str(step.rung),
            "" if step.rung == 0 else f"{100 * step.target:.3g}→{100 * step.reached:.1f} % {step.unit}",
            millions(step.params),
            billions(step.macs),
            _change(step.box_pruned, step.box_tuned),
            _change(step.mask_pruned, step.mask_tuned) + _remark(step),
        )


def _change(pruned: float | None, tuned: float | None) -> str:
    return score(tuned) if pruned == tuned else f"{score(pruned)} → {score(tuned)}"


def _ends_at(step: Step) -> str:
    """Of what is ranked: `0.268 → 0.273`."""
    pruned = step.box_pruned if step.mask_tuned is None else step.mask_pruned
    return _change(pruned, step.accuracy)


def _remark(step: Step) -> str:
    told = {" (refused)": not step.accepted, " (undone)": step.undone}
    return "".join(word for word, holds in told.items() if holds)


FORMATS: dict[str, Callable[[Sequence[Ladders]], str]] = {"markdown": markdown, "csv": as_csv, "json": as_json}
"""Besides the terminal's."""
