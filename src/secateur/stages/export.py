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
    """`weights` is a checkpoint, `imgsz` the side of the pictures, px."""

    weights: Artifact
    imgsz: int
    export: Export


@dataclass(frozen=True)
class Outputs:
    """`model` is an ONNX file, in FP32."""

    model: Artifact


def run(inputs: Inputs, tools: Tools, out: Path) -> Outputs:
    """Writes the net as Ultralytics exports it; raises ExportError where it cannot be exported."""
    target = out / "model.onnx"
    way = inputs.export
    tools.detector.export_onnx(inputs.weights.path, inputs.imgsz, target, way.batch, way.dynamic)
    return Outputs(artifact(target))
