"""Scores a checkpoint or an exported file, all with the same evaluator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from secateur.ports import Tools
from secateur.results import Accuracy, Artifact
from secateur.store import artifact

VERSION = 2
LIBRARIES = ("torch", "ultralytics", "onnxruntime")


@dataclass(frozen=True)
class Inputs:
    model: Artifact
    data: Artifact
    imgsz: int


@dataclass(frozen=True)
class Outputs:
    """`matches` is a file for `secateur.matches.read`: what the accuracy was computed from, picture by picture."""

    accuracy: Accuracy
    matches: Artifact


def run(inputs: Inputs, tools: Tools, out: Path) -> Outputs:
    data = inputs.data.path / "data.yaml"
    found = tools.detector.evaluate(inputs.model.path, data, inputs.imgsz, tools.progress)
    found.matches.write(out / "matches.npz")
    return Outputs(found.accuracy, artifact(out / "matches.npz"))
