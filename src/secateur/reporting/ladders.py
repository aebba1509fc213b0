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
from secateur.reporting.comparison import LIMIT, csv_of, markdown_line, more
from secateur.reporting.table import billions, millions, score

HEADS = ("run", "asked", "rung", "gone", "params", "MACs", "box", "mask")
METHOD = (
    "mAP50-95 of checkpoints: after pruning and healing → after fine-tuning; one figure where nothing was trained. "
    "Runs stand by their last rung, the most accurate first; (refused): more was lost than max_map_drop allows."
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
            _change(step.mask_pruned, step.mask_tuned) + _refused(step),
        )


def _change(pruned: float | None, tuned: float | None) -> str:
    return score(tuned) if pruned == tuned else f"{score(pruned)} → {score(tuned)}"


def _refused(step: Step) -> str:
    return "" if step.accepted else " (refused)"


FORMATS: dict[str, Callable[[Sequence[Ladders]], str]] = {"markdown": markdown, "csv": as_csv, "json": as_json}
"""Besides the terminal's."""
