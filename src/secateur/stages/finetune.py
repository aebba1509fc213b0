"""Trains a pruned net on, in the shape it has."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from secateur.ports import Lesson, Tools
from secateur.results import Artifact, Epoch
from secateur.specs import Distillation, Training
from secateur.store import artifact

VERSION = 3
LIBRARIES = ("torch", "ultralytics")
RESUMES = True


@dataclass(frozen=True)
class Inputs:
    """`teacher` and `unlabelled` pictures are there where the distillation needs them; `cuts` are the channels that
    each rung so far left, where it compares the neck's, `unpruned` is there where layers that it shares are frozen.
    `processes` divide each batch, each with its own BatchNorm and count of objects."""

    weights: Artifact
    data: Artifact
    training: Training
    distillation: Distillation
    imgsz: int
    seed: int
    teacher: Artifact | None = None
    unlabelled: Artifact | None = None
    cuts: tuple[Artifact, ...] = ()
    unpruned: Artifact | None = None
    processes: int = 1


@dataclass(frozen=True)
class Outputs:
    """`weights` is the trained checkpoint, `curve` tells of each epoch."""

    weights: Artifact
    curve: tuple[Epoch, ...]


def run(inputs: Inputs, tools: Tools, out: Path) -> Outputs:
    """Trains `weights` on, as the distillation says; raises StageError where it cannot, or where the loss became no
    number twice."""
    target = out / "tuned.pt"
    lesson = Lesson(
        inputs.data.path / "data.yaml",
        inputs.distillation,
        inputs.unlabelled.path / "images" if inputs.unlabelled else None,
        inputs.teacher.path if inputs.teacher else None,
        left_of_all([json.loads(cut.path.read_bytes()) for cut in inputs.cuts]),
        inputs.unpruned.path if inputs.unpruned else None,
    )
    curve = tools.detector.finetune(
        inputs.weights.path, lesson, inputs.training, inputs.imgsz, inputs.seed, target, tools.watch
    )
    return Outputs(artifact(target), curve)


def left_of_all(cuts: Sequence[dict[str, list[int]]]) -> dict[str, list[int]]:
    """Which of the first net's output channels each layer has after all cuts; each speaks of the net before it."""
    left: dict[str, list[int]] = {}
    for cut in cuts:
        left = {name: [left[name][i] for i in kept] if name in left else kept for name, kept in cut.items()}
    return left
