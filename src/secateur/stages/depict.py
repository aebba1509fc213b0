"""What a file that could ship finds in a few validation pictures, drawn into them: to look at, not to measure."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from secateur.edge.drawing import draw
from secateur.edge.letterbox import read_picture
from secateur.edge.predictor import open_predictor
from secateur.ports import Tools
from secateur.results import Artifact, Sample
from secateur.specs import Timer
from secateur.stages.prepare import class_names
from secateur.store import artifact

if TYPE_CHECKING:
    from secateur.edge.letterbox import Pixels
    from secateur.edge.predictor import Detections

VERSION = 1
LIBRARIES = ("numpy", "pillow")

SIDE = 320  # pixels of the longer side, at most
QUALITY = 80


@dataclass(frozen=True)
class Inputs:
    """`timer` is what runs the file; `pictures` so many, drawn by the seed, those with objects first."""

    model: Artifact
    timer: Timer
    data: Artifact
    pictures: int
    seed: int


@dataclass(frozen=True)
class Outputs:
    """`samples` in the order that the pictures were drawn in, those with objects first."""

    samples: tuple[Sample, ...]


def run(inputs: Inputs, tools: Tools, out: Path) -> Outputs:
    """Writes a JPEG a picture, SIDE px at most; raises ExportError where the file cannot be run, StageError where a
    picture does not decode."""
    data = inputs.data.path
    predictor = open_predictor(inputs.model.path, inputs.timer.runtime, names=class_names(data / "data.yaml"))
    chosen = drawn(data, inputs.pictures, inputs.seed)
    samples = []
    for done, path in enumerate(chosen, start=1):
        pixels = read_picture(path)
        found = predictor(pixels)
        target = out / f"{done}.jpg"
        _save(draw(*shrunk(pixels, found), predictor.name), target)
        samples.append(Sample(path.name, told(found, predictor.name), artifact(target)))
        tools.progress(done, len(chosen))
    return Outputs(tuple(samples))


def drawn(data: Path, count: int, seed: int) -> list[Path]:
    """So many validation pictures, or all there are; those with objects before those without."""
    pictures = sorted((data / "images" / "val").iterdir())
    random.Random(seed).shuffle(pictures)
    return sorted(pictures, key=lambda picture: not _has_objects(data, picture))[:count]


def told(found: Detections, name: Callable[[int], str]) -> str:
    """`3 circle, 1 star`, the most of them first; `nothing`."""
    counted = Counter(name(int(label)) for label in found.labels)
    return ", ".join(f"{count} {what}" for what, count in counted.most_common()) or "nothing"


def shrunk(pixels: Pixels, found: Detections) -> tuple[Pixels, Detections]:
    """Both so small that the longer side has SIDE pixels at most: names that are drawn later stay readable."""
    from PIL import Image

    height, width, _ = pixels.shape
    scale = min(SIDE / max(height, width), 1)
    rows, columns = max(round(height * scale), 1), max(round(width * scale), 1)
    small = np.asarray(Image.fromarray(pixels).resize((columns, rows)))
    boxes = found.boxes * np.array([columns / width, rows / height] * 2, np.float32)
    if found.masks is None:
        return small, replace(found, boxes=boxes)
    at = np.ix_(range(len(found)), np.arange(rows) * height // rows, np.arange(columns) * width // columns)
    return small, replace(found, boxes=boxes, masks=found.masks[at])


def _has_objects(data: Path, picture: Path) -> bool:
    labels = data / "labels" / "val" / f"{picture.stem}.txt"
    return labels.is_file() and bool(labels.read_text(encoding="utf-8").strip())


def _save(pixels: Pixels, target: Path) -> None:
    from PIL import Image

    Image.fromarray(pixels).save(target, quality=QUALITY)
