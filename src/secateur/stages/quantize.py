"""Turns an exported FP32 file into the one that ships, calibrated on training pictures."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from secateur.edge.letterbox import letterbox, read_picture
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
    inputs.quantizer.quantize(inputs.model.path, _calibration(inputs, tools), target)
    return Outputs(artifact(target))


def _calibration(inputs: Inputs, tools: Tools) -> Iterator[Image]:
    """Training pictures, drawn by the seed; the validation pictures stay unseen."""
    if not inputs.data:
        return
    pictures = sorted((inputs.data.path / "images" / "train").iterdir())
    chosen = random.Random(inputs.seed).sample(pictures, min(inputs.quantizer.images, len(pictures)))
    for done, path in enumerate(chosen, start=1):
        yield letterbox(read_picture(path), inputs.imgsz)
        tools.progress(done, len(chosen))
