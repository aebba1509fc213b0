"""What a person sees while a run goes on: a line a stage, and a bar with the time left on long work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from secateur.reporting.summary import headline, undoing
from secateur.reporting.table import tables
from secateur.results import Epoch, Rung, RunReport, StageRecord

REPORT_EVERY_SECONDS = 30.0


class _Bar(Progress):
    """With a line below it."""

    below = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        if self.below:
            yield Text(f"  {self.below}", style="dim", no_wrap=True, overflow="ellipsis")


@contextmanager
def bar(console: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar with the time left, while something is done; nothing where there is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task(what, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


class Screen:
    """A sink; `progress` is what stages call while they work."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar: _Bar | None = None
        self._what = self._found = ""
        self._started = self._told = 0.0

    def stage_started(self, stage: str, label: str) -> None:
        self._what, self._found = f"{stage:<12}{label}", ""
        self._started = self._told = time.monotonic()
        if self.console.is_terminal:
            self._bar = _Bar(
                SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn(),
                TextColumn("left"), TimeRemainingColumn(), console=self.console, transient=True,
            )  # fmt: skip
            self._bar.add_task(self._what, total=None)
            self._bar.start()

    def progress(self, done: int, total: int) -> None:
        """Moves the bar; where there is no terminal, writes a line each REPORT_EVERY_SECONDS, with about how long is
        left."""
        if self._bar:
            self._bar.update(self._bar.task_ids[0], completed=done, total=total)
        elif time.monotonic() - self._told > REPORT_EVERY_SECONDS and done:
            self._told = time.monotonic()
            left = (self._told - self._started) * (total - done) / done
            self.console.print(
                f"  … {self._what}: {done / total:.0%}, about {left:.0f} s left  {self._found}",
                highlight=False, soft_wrap=True,
            )  # fmt: skip

    def epoch_finished(self, label: str, rung: int | None, epoch: Epoch) -> None:
        losses = "  ".join(f"{name} {value:.3g}" for name, value in epoch.losses.items())
        self._found = f"epoch {epoch.epoch}/{epoch.epochs}: {losses}"
        if self._bar:
            self._bar.below = self._found

    def stage_finished(self, record: StageRecord) -> None:
        self.close()
        took = "stored" if record.reused else f"{record.seconds:.1f} s"
        rung = f"rung {record.rung}" if record.rung else ""
        line = Text.assemble(("↺ " if record.reused else "✓ ", "dim" if record.reused else "green"))
        line.append(f"{record.stage:<12}{record.label:<22}{rung:<8}{took:>9}  {_found(record)}")
        self.console.print(line, soft_wrap=True)

    def rung_finished(self, rung: Rung) -> None:
        if not rung.accepted:
            self.console.print(f"  rung {rung.rung} loses more than max_map_drop")
        if told := undoing(rung):
            self.console.print(f"  {told}", highlight=False, soft_wrap=True)

    def run_finished(self, report: RunReport) -> None:
        self.close()
        self.console.print()
        self.console.print(tables(report) if report.status == "finished" else headline(report))

    def close(self) -> None:
        """Gives the terminal back."""
        if self._bar:
            self._bar.stop()
            self._bar = None


def _found(record: StageRecord) -> str:
    """The figure that a person waits for."""
    outputs = record.outputs
    match record.stage:
        case "evaluate":
            box, mask = (outputs["accuracy"][f"{kind}_map50_95"] for kind in ("box", "mask"))
            return f"box {box:.3f}" + (f"  mask {mask:.3f}" if mask is not None else "")
        case "finetune" | "quantize_aware":
            return f"loss {_total(outputs['curve'][0])} → {_total(outputs['curve'][-1])}"
        case "sparsify":
            before, after = outputs["weakest_quarter"]
            return f"weakest quarter of channels {before:.3f}→{after:.3f} of the norm"
        case "swap":
            return f"{outputs['swapped']} activations"
        case "prune" | "baseline":
            footprint = outputs["footprint"]
            return f"{footprint['params'] / 1e6:.2f} M params  {footprint['macs'] / 1e9:.3f} G MACs"
        case "verify":
            return f"refused: {outputs['fault']}" if outputs["fault"] else ""
        case "prepare":
            return f"{outputs['train_images']} train, {outputs['val_images']} val pictures"
        case _:
            return ""


def _total(epoch: dict[str, Any]) -> str:
    return f"{sum(epoch['losses'].values()):.3g}"
