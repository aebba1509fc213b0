"""Trains a net to give, rounded to INT8, what it gives in full precision; no label is needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from secateur.ports import Lesson, Tools
from secateur.results import Artifact, Epoch
from secateur.specs import Distillation, Training
from secateur.store import artifact

VERSION = 1
LIBRARIES = ("torch", "ultralytics", "nvidia-modelopt")
RESUMES = True

ITSELF = Distillation(
    labels=0.0, classes=1.0, boxes=1.0, coefficients=1.0, prototypes=1.0, masks=1.0, neck=1.0
)  # fmt: skip


@dataclass(frozen=True)
class Inputs:
    """`weights` is a net in full precision, which is its own teacher."""

    weights: Artifact
    data: Artifact
    training: Training
    imgsz: int
    seed: int


@dataclass(frozen=True)
class Outputs:
    """`weights` are in full precision; what they bear is to be rounded."""

    weights: Artifact
    curve: tuple[Epoch, ...]


def run(inputs: Inputs, tools: Tools, out: Path) -> Outputs:
    """Trains on with weights and activations rounded; raises StageError where it cannot, or where the loss became no
    number twice."""
    target = out / "rounded.pt"
    lesson = Lesson(inputs.data.path / "data.yaml", ITSELF, teacher=inputs.weights.path, rounded=True)
    curve = tools.detector.finetune(
        inputs.weights.path, lesson, inputs.training, inputs.imgsz, inputs.seed, target, tools.watch
    )
    return Outputs(artifact(target), curve)
