"""Writes a checkpoint as ONNX."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from secateur.ports import Tools
from secateur.results import Artifact
from secateur.specs import Export
from secateur.store import artifact

VERSION = 2
LIBRARIES = ("torch", "ultralytics", "onnx", "onnxslim")


@dataclass(frozen=True)
class Inputs:
    weights: Artifact
    imgsz: int
    export: Export


@dataclass(frozen=True)
class Outputs:
    model: Artifact


def run(inputs: Inputs, tools: Tools, out: Path) -> Outputs:
    target = out / "model.onnx"
    way = inputs.export
    tools.detector.export_onnx(inputs.weights.path, inputs.imgsz, target, way.batch, way.dynamic)
    return Outputs(artifact(target))
