"""Takes channels away until the budget is met."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from secateur.ports import Budget, Importance, Tools
from secateur.results import Artifact, Footprint
from secateur.specs import GradientBatches, Scope
from secateur.store import artifact

if TYPE_CHECKING:
    from torch import nn

VERSION = 1
LIBRARIES = ("torch", "ultralytics", "torch-pruning")


@dataclass(frozen=True)
class Inputs:
    """`target` is the share of the baseline's `unit` that is gone afterwards, whatever was gone before.

    `data`, `gradients` and `seed` are there only where the importance wants gradients.
    """

    weights: Artifact
    baseline: Artifact
    importance: Importance
    scope: Scope
    unit: str
    target: float
    imgsz: int
    data: Artifact | None = None
    gradients: GradientBatches | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Outputs:
    """`channels`: what each group keeps, of how many."""

    weights: Artifact
    footprint: Footprint
    channels: dict[str, tuple[int, int]]


def run(inputs: Inputs, tools: Tools, out: Path) -> Outputs:
    baseline, net = tools.detector.load(inputs.baseline.path), tools.detector.load(inputs.weights.path)
    original = _widths(baseline, inputs, tools)
    budget = Budget(inputs.target, inputs.unit, original, tools.pruner.footprint(baseline, inputs.imgsz).macs)
    if inputs.importance.gradients:
        _accumulate_gradients(net, inputs, tools)
    fixed = tools.detector.fixed_layers(net, inputs.scope.head)
    pruned = tools.pruner.prune(net, fixed, inputs.importance, inputs.scope, budget, inputs.imgsz)
    tools.detector.save(pruned, out / "pruned.pt")
    kept = _widths(pruned, inputs, tools)
    return Outputs(
        artifact(out / "pruned.pt"),
        tools.pruner.footprint(pruned, inputs.imgsz),
        {name: (kept[name], width) for name, width in original.items()},
    )


def _widths(net: nn.Module, inputs: Inputs, tools: Tools) -> dict[str, int]:
    return tools.pruner.widths(net, tools.detector.fixed_layers(net, inputs.scope.head), inputs.imgsz)


def _accumulate_gradients(net: nn.Module, inputs: Inputs, tools: Tools) -> None:
    assert inputs.data and inputs.gradients and inputs.seed is not None
    data, pictures = inputs.data.path / "data.yaml", inputs.gradients
    tools.detector.accumulate_gradients(
        net, data, inputs.imgsz, pictures.batches, pictures.batch, inputs.seed, tools.progress
    )
