"""Writes the data set in one layout, and refuses what training would stumble over later."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from secateur.edge.letterbox import read_picture
from secateur.errors import StageError
from secateur.ports import Dataset, Tools
from secateur.results import Artifact
from secateur.store import PLACE, artifact

VERSION = 1
LIBRARIES: tuple[str, ...] = ()
SPLITS = ("train", "val")
TOLERANCE = 0.01  # outlines may touch the border, and rounding carries them over


@dataclass(frozen=True)
class Inputs:
    """`content` says what the data set is; `dataset` only where it comes from."""

    content: str
    dataset: Dataset = field(metadata=PLACE)


@dataclass(frozen=True)
class Outputs:
    """`data` is a folder: data.yaml, images/{train,val} and labels/{train,val}."""

    data: Artifact
    names: tuple[str, ...]
    train_images: int
    val_images: int
    train_instances: int
    val_instances: int


def run(inputs: Inputs, tools: Tools, out: Path) -> Outputs:
    folder = out / "data"
    folder.mkdir()
    inputs.dataset.write(folder, tools.downloads)
    names = class_names(folder / "data.yaml")
    instances = {split: _instances(folder, split, len(names)) for split in SPLITS}
    pictures = {split: sorted((folder / "images" / split).iterdir()) for split in SPLITS}
    _decode_all([path for split in SPLITS for path in pictures[split]], tools)
    return Outputs(
        artifact(folder), names, len(pictures["train"]), len(pictures["val"]), instances["train"], instances["val"]
    )


def class_names(data_yaml: Path) -> tuple[str, ...]:
    names = yaml.safe_load(data_yaml.read_text())["names"]
    return tuple(names[i] for i in sorted(names)) if isinstance(names, dict) else tuple(names)


def _instances(folder: Path, split: str, classes: int) -> int:
    count = sum(_checked_lines(path, classes) for path in sorted((folder / "labels" / split).glob("*.txt")))
    if not count:
        raise StageError(f"dataset: the {split} pictures have no labels at all")
    return count


def _checked_lines(path: Path, classes: int) -> int:
    lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
    for number, line in enumerate(lines, start=1):
        if fault := _fault(line.split(), classes):
            raise StageError(f"dataset: {path.parent.name}/{path.name} line {number}: {fault}")
    return len(lines)


def _fault(words: list[str], classes: int) -> str | None:
    """What is wrong with a label line, or None; a good one is a class and at least three points in 0–1."""
    try:
        label, *points = map(float, words)
    except ValueError:
        return f"not all numbers: {' '.join(words)[:40]!r}"
    if not (label.is_integer() and 0 <= label < classes):
        return f"class {words[0]} where data.yaml names {classes} classes (0–{classes - 1})"
    if len(points) < 6 or len(points) % 2:
        return f"no polygon: {len(points)} numbers after the class, where 6, 8, 10, … are the corners' x y"
    if not all(-TOLERANCE <= value <= 1 + TOLERANCE for value in points):
        return "points outside 0–1: corners are fractions of the picture's width and height"
    return None


def _decode_all(pictures: list[Path], tools: Tools) -> None:
    with ThreadPoolExecutor() as pool:
        for done, _ in enumerate(pool.map(read_picture, pictures), start=1):
            tools.progress(done, len(pictures))
