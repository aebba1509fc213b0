"""Writes a checkpoint as ONNX, batch 1, static shape."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from secateur.ports import Tools
from secateur.results import Artifact
from secateur.store import artifact

VERSION = 1
LIBRARIES = ("torch", "ultralytics", "onnx", "onnxslim")


@dataclass(frozen=True)
class Inputs:
    weights: Artifact
    imgsz: int


@dataclass(frozen=True)
class Outputs:
    model: Artifact


def run(inputs: Inputs, tools: Tools, out: Path) -> Outputs:
    target = out / "model.onnx"
    tools.detector.export_onnx(inputs.weights.path, inputs.imgsz, target)
    return Outputs(artifact(target))
