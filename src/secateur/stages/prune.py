"""Takes channels away until the budget is met."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from secateur.calibration import training_tensor
from secateur.ports import Budget, Importance, Tools
from secateur.results import Artifact, Footprint
from secateur.specs import Evidence, Scope
from secateur.store import artifact

if TYPE_CHECKING:
    from torch import Tensor, nn

VERSION = 2
LIBRARIES = ("torch", "ultralytics", "torch-pruning", "pillow")


@dataclass(frozen=True)
class Inputs:
    """`target` is the share of the baseline's `unit` that is gone afterwards, whatever was gone before.

    `data`, `evidence` and `seed` are there only where the importance needs more than the weights.
    """

    weights: Artifact
    baseline: Artifact
    importance: Importance
    scope: Scope
    unit: str
    target: float
    imgsz: int
    data: Artifact | None = None
    evidence: Evidence | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Outputs:
    """`channels`: what each group keeps, of how many; `kept`: a file with the output channels each layer still has."""

    weights: Artifact
    kept: Artifact
    footprint: Footprint
    channels: dict[str, tuple[int, int]]


def run(inputs: Inputs, tools: Tools, out: Path) -> Outputs:
    baseline, net = tools.detector.load(inputs.baseline.path), tools.detector.load(inputs.weights.path)
    original = _widths(baseline, inputs, tools)
    budget = Budget(inputs.target, inputs.unit, original, tools.pruner.footprint(baseline, inputs.imgsz).macs)
    if inputs.importance.needs == "gradients":
        _accumulate_gradients(net, inputs, tools)
    pictures = _pictures(inputs, tools) if inputs.importance.needs == "inputs" else None
    fixed = tools.detector.fixed_layers(net, inputs.scope.head)
    pruned = tools.pruner.prune(net, fixed, inputs.importance, inputs.scope, budget, inputs.imgsz, pictures)
    tools.detector.save(pruned.net, out / "pruned.pt")
    (out / "kept.json").write_text(json.dumps(pruned.kept))
    left = _widths(pruned.net, inputs, tools)
    return Outputs(
        artifact(out / "pruned.pt"),
        artifact(out / "kept.json"),
        tools.pruner.footprint(pruned.net, inputs.imgsz),
        {name: (left[name], width) for name, width in original.items()},
    )


def _widths(net: nn.Module, inputs: Inputs, tools: Tools) -> dict[str, int]:
    return tools.pruner.widths(net, tools.detector.fixed_layers(net, inputs.scope.head), inputs.imgsz)


def _accumulate_gradients(net: nn.Module, inputs: Inputs, tools: Tools) -> None:
    assert inputs.data and inputs.evidence and inputs.seed is not None
    data, looks = inputs.data.path / "data.yaml", inputs.evidence
    tools.detector.accumulate_gradients(
        net, data, inputs.imgsz, looks.batches, looks.batch, inputs.seed, tools.progress
    )


def _pictures(inputs: Inputs, tools: Tools) -> Tensor:
    assert inputs.data and inputs.evidence and inputs.seed is not None
    count = inputs.evidence.batches * inputs.evidence.batch
    return training_tensor(inputs.data.path, inputs.imgsz, count, inputs.seed, tools.progress)
