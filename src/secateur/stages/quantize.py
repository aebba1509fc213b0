"""Turns an exported FP32 file into the one that ships, calibrated on training pictures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from secateur.calibration import training_pictures
from secateur.ports import Quantizer, Tools
from secateur.results import Artifact
from secateur.store import artifact

if TYPE_CHECKING:
    from secateur.ports import Image

VERSION = 1
LIBRARIES = ("onnx", "onnxruntime", "pillow")


@dataclass(frozen=True)
class Inputs:
    """`data` and `seed` are there only where the quantizer wants calibration pictures."""

    model: Artifact
    quantizer: Quantizer
    imgsz: int
    data: Artifact | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Outputs:
    model: Artifact


def run(inputs: Inputs, tools: Tools, out: Path) -> Outputs:
    target = out / "model.onnx"
    inputs.quantizer.quantize(inputs.model.path, _pictures(inputs, tools), target)
    return Outputs(artifact(target))


def _pictures(inputs: Inputs, tools: Tools) -> Iterable[Image]:
    if not inputs.data or inputs.seed is None:
        return ()
    return training_pictures(inputs.data.path, inputs.imgsz, inputs.quantizer.images, inputs.seed, tools.progress)
