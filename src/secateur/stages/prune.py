"""Takes channels away until the budget is met."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.budgets import COUNTED, TIMED, Stopwatch, counted
from secateur.calibration import look
from secateur.errors import GraphError
from secateur.ports import Budget, Gauge, Importance, Pruned, Tools
from secateur.results import Artifact, Footprint, Sensitivity, Trial
from secateur.specs import Evidence, Export, Scope, Timer
from secateur.store import artifact

if TYPE_CHECKING:
    from torch import nn

VERSION = 7
LIBRARIES = ("torch", "ultralytics", "torch-pruning", "pillow", "onnx", "onnxslim")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inputs:
    """`target` is the share of the baseline's `unit` that is gone afterwards, whatever was gone before.

    `data`, `evidence` and `seed` are there only where the importance needs more than the weights, `timer` and `export`
    where the unit is latency, `sensitivity` where the scope goes by it.
    """

    weights: Artifact
    baseline: Artifact
    importance: Importance
    scope: Scope
    unit: str
    target: float
    imgsz: int
    timer: Timer | None = None
    export: Export | None = None
    sensitivity: Sensitivity | None = None
    data: Artifact | None = None
    evidence: Evidence | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Outputs:
    """`reached` is what came of `target`; `channels`: what each group keeps, of how many.

    `kept` is a file with the output channels each layer still has; `trials` are the nets that were timed; `fixed` are
    the layers that cannot be pruned safely, and why.
    """

    weights: Artifact
    kept: Artifact
    footprint: Footprint
    reached: float
    channels: dict[str, tuple[int, int]]
    trials: tuple[Trial, ...] = ()
    fixed: dict[str, str] = field(default_factory=dict)


def timed(inputs: Inputs) -> bool:
    """Where nets are cut until they are fast enough."""
    return inputs.timer is not None


def run(inputs: Inputs, tools: Tools, out: Path) -> Outputs:
    """Writes the smaller net, and which channels it kept; raises GraphError where the target is out of reach, or where
    a pattern in `scope.keep` matches no layer."""
    baseline, net = tools.detector.load(inputs.baseline.path), tools.detector.load(inputs.weights.path)
    widths = tools.pruner.widths(baseline, _fixed(baseline, inputs, tools), inputs.imgsz)
    with tempfile.TemporaryDirectory(prefix="secateur-trials-") as scratch:
        gauge = _gauge(inputs, baseline, widths, tools, Path(scratch))
        pruned = _pruned(inputs, net, gauge, widths, tools)
    fixed = dict(tools.detector.unprunable_layers(net))
    log.info("kept whole: %s", "; ".join(f"{name} ({why})" for name, why in fixed.items()) or "nothing")
    tools.detector.save(pruned.net, out / "pruned.pt", inputs.imgsz)
    (out / "kept.json").write_text(json.dumps(pruned.kept))
    return Outputs(
        artifact(out / "pruned.pt"),
        artifact(out / "kept.json"),
        tools.pruner.footprint(pruned.net, inputs.imgsz),
        pruned.gone,
        {name: (len(pruned.kept[name]), width) for name, width in widths.items()},
        tuple(gauge.trials) if isinstance(gauge, Stopwatch) else (),
        fixed,
    )


def _gauge(inputs: Inputs, baseline: nn.Module, widths: dict[str, int], tools: Tools, scratch: Path) -> Gauge:
    if inputs.unit != "latency":
        return counted(inputs.unit, baseline, widths, inputs.imgsz, tools.pruner)
    assert inputs.timer and inputs.export
    return Stopwatch(baseline, inputs.timer, inputs.export, inputs.imgsz, tools, scratch)


def _pruned(inputs: Inputs, net: nn.Module, gauge: Gauge, widths: dict[str, int], tools: Tools) -> Pruned:
    nearness = TIMED if inputs.unit == "latency" else COUNTED
    budget = Budget(inputs.target, inputs.unit, gauge, widths, **nearness)
    pictures = look(net, inputs.importance, inputs.data, inputs.evidence, inputs.imgsz, inputs.seed, tools)
    fixed = _fixed(net, inputs, tools)
    return tools.pruner.prune(
        net, fixed, inputs.importance, inputs.scope, budget, inputs.imgsz, pictures, inputs.sensitivity
    )


def _fixed(net: nn.Module, inputs: Inputs, tools: Tools) -> list[nn.Module]:
    return fixed_layers(net, inputs.scope.head, inputs.scope.keep, tools)


def fixed_layers(net: nn.Module, head: bool, keep: Sequence[str], tools: Tools) -> list[nn.Module]:
    """Layers that keep their channels: those that have to, and those of the patterns in `keep`; raises GraphError where
    one matches nothing."""
    layers = {name: layer for name, layer in net.named_modules() if hasattr(layer, "weight")}
    asked = [layer for pattern in keep for layer in _matching(pattern, layers)]
    return [*tools.detector.fixed_layers(net, head), *asked]


def _matching(pattern: str, layers: dict[str, Any]) -> list[Any]:
    found = [layer for name, layer in layers.items() if fnmatchcase(name, pattern)]
    if not found:
        some = ", ".join(list(layers)[:3])
        raise GraphError(f"scope.keep: {pattern!r} matches no layer; there are {some}, … up to {list(layers)[-1]}")
    return found
