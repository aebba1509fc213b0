"""Whether a file that could ship gives anything of use: run on a few training pictures, as the device would run it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from secateur.calibration import training_pictures
from secateur.doctor.outputs import first_fault, look
from secateur.examination import OutputCheck
from secateur.ports import Tools
from secateur.results import Artifact
from secateur.specs import Timer
from secateur.stages.prepare import class_names

VERSION = 1
LIBRARIES = ("numpy", "pillow")


@dataclass(frozen=True)
class Inputs:
    """`timer` is what runs it and where: the same file can overflow on one processor and not on another."""

    model: Artifact
    timer: Timer
    data: Artifact
    imgsz: int
    images: int
    seed: int


@dataclass(frozen=True)
class Outputs:
    """`fault` is one line, None where nothing is wrong."""

    fault: str | None
    outputs: tuple[OutputCheck, ...]


def run(inputs: Inputs, tools: Tools, out: Path) -> Outputs:
    """Looks at every output on so many pictures; a fault is told, not raised. Raises ExportError where it cannot be
    opened."""
    data = inputs.data.path
    session = inputs.timer.runtime.open(inputs.model.path)
    pictures = training_pictures(data, inputs.imgsz, inputs.images, inputs.seed, tools.progress)
    outputs = look(session, len(class_names(data / "data.yaml")), pictures)
    return Outputs(first_fault(outputs), outputs)
