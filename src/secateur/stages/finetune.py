"""Trains a pruned net on, in the shape it has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from secateur.ports import Tools
from secateur.results import Artifact
from secateur.specs import Training
from secateur.store import artifact

VERSION = 1
LIBRARIES = ("torch", "ultralytics")


@dataclass(frozen=True)
class Inputs:
    weights: Artifact
    data: Artifact
    training: Training
    imgsz: int
    seed: int


@dataclass(frozen=True)
class Outputs:
    weights: Artifact


def run(inputs: Inputs, tools: Tools, out: Path) -> Outputs:
    target, data = out / "tuned.pt", inputs.data.path / "data.yaml"
    tools.detector.finetune(
        inputs.weights.path, data, inputs.training, inputs.imgsz, inputs.seed, target, tools.progress
    )
    return Outputs(artifact(target))
