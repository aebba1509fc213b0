"""Where in a net its quantized file differs from the float file that it was made of: layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from secateur.calibration import training_pictures
from secateur.ports import Tools
from secateur.quantizers import _noise
from secateur.results import Artifact, LayerNoise

VERSION = 1
LIBRARIES = ("numpy", "onnx", "onnxruntime", "pillow")


@dataclass(frozen=True)
class Inputs:
    """`exact` is the float file, both ONNX; `images` so many training pictures, drawn by the seed."""

    exact: Artifact
    model: Artifact
    data: Artifact
    imgsz: int
    images: int
    seed: int


@dataclass(frozen=True)
class Outputs:
    """`layers` in the order they run in; none where nothing is quantized."""

    layers: tuple[LayerNoise, ...]


def run(inputs: Inputs, tools: Tools, out: Path) -> Outputs:
    """Runs both files on the same pictures, in ONNX Runtime; raises ExportError where the float file cannot be read."""
    pictures = training_pictures(inputs.data.path, inputs.imgsz, inputs.images, inputs.seed, tools.progress)
    return Outputs(_noise.measure(inputs.exact.path, inputs.model.path, pictures))
