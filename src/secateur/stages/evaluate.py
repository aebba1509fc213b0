"""Scores a checkpoint or an exported file, all with the same evaluator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from secateur.ports import Tools
from secateur.results import Accuracy, Artifact

VERSION = 1
LIBRARIES = ("torch", "ultralytics", "onnxruntime")

Outputs = Accuracy


@dataclass(frozen=True)
class Inputs:
    model: Artifact
    data: Artifact
    imgsz: int


def run(inputs: Inputs, tools: Tools, out: Path) -> Accuracy:
    return tools.detector.evaluate(inputs.model.path, inputs.data.path / "data.yaml", inputs.imgsz, tools.progress)
