"""The unpruned net: a checkpoint that is there, or one trained from scratch."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from secateur.ports import Tools
from secateur.results import Artifact, Epoch, Footprint
from secateur.specs import Training
from secateur.store import artifact

VERSION = 4
LIBRARIES = ("torch", "ultralytics", "torch-pruning")
RESUMES = True


@dataclass(frozen=True)
class Inputs:
    """Either `weights`, or all that training from scratch needs."""

    imgsz: int
    weights: Artifact | None = None
    architecture: str | None = None
    training: Training | None = None
    data: Artifact | None = None
    seed: int | None = None
    processes: int | None = None


@dataclass(frozen=True)
class Outputs:
    """`curve` tells of each epoch where it was trained from scratch."""

    weights: Artifact
    footprint: Footprint
    curve: tuple[Epoch, ...] = ()


def run(inputs: Inputs, tools: Tools, out: Path) -> Outputs:
    """Copies the checkpoint, or trains one, and counts what it costs at `imgsz`.

    Raises SpecError where Ultralytics has no such architecture, StageError where it cannot be trained or opened.
    """
    target = out / "baseline.pt"
    curve: tuple[Epoch, ...] = ()
    if inputs.weights:
        shutil.copyfile(inputs.weights.path, target)
    else:
        curve = _train(inputs, tools, target)
    net = tools.detector.load(target)
    return Outputs(artifact(target), tools.pruner.footprint(net, inputs.imgsz), curve)


def _train(inputs: Inputs, tools: Tools, target: Path) -> tuple[Epoch, ...]:
    assert inputs.architecture and inputs.training and inputs.data and inputs.seed is not None
    data = inputs.data.path / "data.yaml"
    return tools.detector.train_from_scratch(
        inputs.architecture, data, inputs.training, inputs.imgsz, inputs.seed, target, tools.watch
    )
