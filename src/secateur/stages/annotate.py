"""Labels for pictures that have none: what the teacher finds in them and is sure enough of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from secateur.errors import StageError
from secateur.ports import Tools
from secateur.results import Artifact
from secateur.store import artifact

VERSION = 1
LIBRARIES = ("torch", "ultralytics")


@dataclass(frozen=True)
class Inputs:
    """`pictures` is a folder that holds an `images` folder; `confidence` is the least that a label needs."""

    weights: Artifact
    pictures: Artifact
    confidence: float
    imgsz: int


@dataclass(frozen=True)
class Outputs:
    """`pictures` holds `images` and `labels`."""

    pictures: Artifact
    instances: int


def run(inputs: Inputs, tools: Tools, out: Path) -> Outputs:
    """Links the pictures and writes a label file for each; raises StageError where the teacher is sure of nothing."""
    folder = out / "pictures"
    folder.mkdir()
    (folder / "images").symlink_to((inputs.pictures.path / "images").resolve())
    found = tools.detector.annotate(
        inputs.weights.path, folder / "images", inputs.imgsz, inputs.confidence, folder / "labels", tools.progress
    )
    if not found:
        raise StageError(
            f"dataset.unlabelled: the teacher is sure of nothing there at distillation.confidence="
            f"{inputs.confidence:g}; lower it"
        )
    return Outputs(artifact(folder), found)
