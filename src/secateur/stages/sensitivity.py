"""What each group of channels costs when it alone is narrowed (Li et al. 2017): mAP on training pictures, unmended."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from secateur.calibration import few_pictures, look
from secateur.ports import Importance, Tools
from secateur.results import Artifact, Sensitivity
from secateur.specs import Evidence, Probes
from secateur.stages.prune import fixed_layers

if TYPE_CHECKING:
    from torch import nn

VERSION = 2
LIBRARIES = ("torch", "ultralytics", "torch-pruning", "pillow")


@dataclass(frozen=True)
class Inputs:
    """`weights` is the unpruned net; `head` and `keep` are the scope's; `seed` draws the pictures; `evidence` is there
    where the importance needs more than the weights."""

    weights: Artifact
    importance: Importance
    head: bool
    keep: tuple[str, ...]
    probes: Probes
    imgsz: int
    data: Artifact
    seed: int
    evidence: Evidence | None = None


def run(inputs: Inputs, tools: Tools, out: Path) -> Sensitivity:
    """Scores each group at each ratio, and the whole net; raises GraphError where nothing may be pruned, or where a
    pattern in `keep` matches no layer."""
    net = tools.detector.load(inputs.weights.path)
    with tempfile.TemporaryDirectory(prefix="secateur-sensitivity-") as scratch:
        data = few_pictures(inputs.data.path, inputs.probes.images, inputs.seed, Path(scratch) / "data")

        def score(candidate: nn.Module) -> float:
            weights = Path(scratch) / "candidate.pt"
            tools.detector.save(candidate, weights)
            return tools.detector.evaluate(weights, data, inputs.imgsz, lambda *_: None).accuracy.main

        whole = score(net)
        drops: dict[str, list[float]] = {}
        for name, candidate in _narrowed(net, inputs, tools):
            drops.setdefault(name, []).append(whole - score(candidate))
    return Sensitivity(inputs.probes.ratios, {name: tuple(found) for name, found in drops.items()})


def _narrowed(net: nn.Module, inputs: Inputs, tools: Tools) -> Iterator[tuple[str, nn.Module]]:
    """Every group at every ratio, told as it comes."""
    pictures = look(net, inputs.importance, inputs.data, inputs.evidence, inputs.imgsz, inputs.seed, tools)
    fixed, ratios = fixed_layers(net, inputs.head, inputs.keep, tools), inputs.probes.ratios
    total = len(ratios) * len(tools.pruner.widths(net, fixed, inputs.imgsz))
    found = tools.pruner.narrowed(net, fixed, inputs.importance, ratios, inputs.imgsz, pictures)
    for done, narrowed in enumerate(found):
        tools.progress(done, total)
        yield narrowed
