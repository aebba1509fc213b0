"""Scores a checkpoint, or a file in the runtime that it ships in, all with the same evaluator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from secateur.ports import Tools
from secateur.results import Accuracy, Artifact
from secateur.specs import Timer
from secateur.store import artifact

VERSION = 3
LIBRARIES = ("torch", "ultralytics")


@dataclass(frozen=True)
class Inputs:
    """`timer` is what runs a file, and where: other kernels round differently. A checkpoint has none."""

    model: Artifact
    data: Artifact
    imgsz: int
    timer: Timer | None = None


@dataclass(frozen=True)
class Outputs:
    """`matches` is a file for `secateur.matches.read`: what the accuracy was computed from, picture by picture."""

    accuracy: Accuracy
    matches: Artifact


def run(inputs: Inputs, tools: Tools, out: Path) -> Outputs:
    """Scores all validation pictures, and writes what was matched; raises ExportError where a file cannot be opened,
    StageError where a checkpoint cannot."""
    data, path = inputs.data.path / "data.yaml", inputs.model.path
    model = inputs.timer.runtime.open(path) if inputs.timer else path
    found = tools.detector.evaluate(model, data, inputs.imgsz, tools.progress)
    found.matches.write(out / "matches.npz")
    return Outputs(found.accuracy, artifact(out / "matches.npz"))
