"""Trains the net before anything is pruned, so that what is weak becomes weaker (group sparsity, Fang et al. 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from secateur.ports import Lesson, Tools
from secateur.results import Artifact, Epoch
from secateur.specs import Distillation, Sparsity
from secateur.stages.prune import fixed_layers
from secateur.store import artifact

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

VERSION = 1
LIBRARIES = ("torch", "ultralytics", "torch-pruning")
RESUMES = True


@dataclass(frozen=True)
class Inputs:
    """`head` and `keep` are the scope's: what may not be pruned is not shrunk."""

    weights: Artifact
    data: Artifact
    sparsity: Sparsity
    head: bool
    keep: tuple[str, ...]
    imgsz: int
    seed: int


@dataclass(frozen=True)
class Outputs:
    """`weakest_quarter` is the share of a group's norm that its weakest quarter of channels holds, before and after."""

    weights: Artifact
    curve: tuple[Epoch, ...]
    weakest_quarter: tuple[float, float]


def run(inputs: Inputs, tools: Tools, out: Path) -> Outputs:
    """Trains the net, unrolled as pruning takes it.

    Raises GraphError where nothing may be pruned, or where a pattern in `keep` matches no layer, StageError where it
    cannot be trained.
    """
    unrolled, target = out / "unrolled.pt", out / "sparse.pt"
    net = tools.detector.load(inputs.weights.path)
    tools.detector.save(net, unrolled, inputs.imgsz)
    curve = _trained(unrolled, inputs, tools, target)
    unrolled.unlink()
    before, after = (_weakest_quarter(some, inputs, tools) for some in (net, tools.detector.load(target)))
    return Outputs(artifact(target), curve, (before, after))


def _trained(unrolled: Path, inputs: Inputs, tools: Tools, target: Path) -> tuple[Epoch, ...]:
    """Its groups are those that are pruned later, since its blocks are unrolled already."""

    def regularizer(net: nn.Module) -> Callable[[], None]:
        return tools.pruner.regularizer(net, _fixed(net, inputs, tools), inputs.sparsity.strength)

    lesson = Lesson(inputs.data.path / "data.yaml", Distillation(), regularizer=regularizer)
    training = inputs.sparsity.training
    return tools.detector.finetune(unrolled, lesson, training, inputs.imgsz, inputs.seed, target, tools.watch)


def _weakest_quarter(net: nn.Module, inputs: Inputs, tools: Tools) -> float:
    shares = [_share(norms) for norms in tools.pruner.norms(net, _fixed(net, inputs, tools))]
    return sum(shares) / len(shares)


def _share(norms: Tensor) -> float:
    weakest = norms.sort().values[: max(len(norms) // 4, 1)]
    return float(weakest.sum() / norms.sum())


def _fixed(net: nn.Module, inputs: Inputs, tools: Tools) -> Sequence[nn.Module]:
    return fixed_layers(net, inputs.head, inputs.keep, tools)
