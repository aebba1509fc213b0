"""Trains a pruned net on, in the shape it has."""

from __future__ import annotations

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
    """`teacher` and `unlabelled` pictures are there where the distillation needs them."""

    weights: Artifact
    data: Artifact
    training: Training
    distillation: Distillation
    imgsz: int
    seed: int
    teacher: Artifact | None = None
    unlabelled: Artifact | None = None


@dataclass(frozen=True)
class Outputs:
    weights: Artifact
    curve: tuple[Epoch, ...]


def run(inputs: Inputs, tools: Tools, out: Path) -> Outputs:
    target = out / "tuned.pt"
    lesson = Lesson(
        inputs.data.path / "data.yaml",
        inputs.distillation,
        inputs.unlabelled.path / "images" if inputs.unlabelled else None,
        inputs.teacher.path if inputs.teacher else None,
    )
    curve = tools.detector.finetune(
        inputs.weights.path, lesson, inputs.training, inputs.imgsz, inputs.seed, target, tools.watch
    )
    return Outputs(artifact(target), curve)
