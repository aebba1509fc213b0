"""Writes the data set in one layout, and refuses what training would stumble over later."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from secateur.edge.letterbox import read_picture
from secateur.errors import StageError
from secateur.ports import Dataset, Tools
from secateur.results import Artifact
from secateur.specs import PLACE
from secateur.store import artifact

VERSION = 3
LIBRARIES: tuple[str, ...] = ()
SPLITS = ("train", "val")
TOLERANCE = 0.01  # objects may touch the border, and rounding carries them over


@dataclass(frozen=True)
class Inputs:
    """`content` says what the data set is; `dataset` only where it comes from."""

    content: str
    dataset: Dataset = field(metadata=PLACE)


@dataclass(frozen=True)
class Outputs:
    """`data` is a folder: data.yaml, images/{train,val} and labels/{train,val}; `labels` are polygons or boxes.

    `val_in_train` counts the validation pictures that have the very pixels of a training picture.
    """

    data: Artifact
    names: tuple[str, ...]
    labels: str
    train_images: int
    val_images: int
    train_instances: int
    val_instances: int
    val_in_train: int


def run(inputs: Inputs, tools: Tools, out: Path) -> Outputs:
    """Writes the data set and looks at all of it.

    Raises StageError, which names the place, where a label is wrong or of another kind than the others, where a split
    has none, or where a picture does not decode.
    """
    folder = out / "data"
    folder.mkdir()
    inputs.dataset.write(folder, tools.downloads)
    names = class_names(folder / "data.yaml")
    labels, instances = _checked_labels(folder, len(names))
    pictures = {split: sorted((folder / "images" / split).iterdir()) for split in SPLITS}
    pixels = _decoded([path for split in SPLITS for path in pictures[split]], tools)
    train, val = pixels[: len(pictures["train"])], pixels[len(pictures["train"]) :]
    return Outputs(
        artifact(folder), names, labels, len(train), len(val), instances["train"], instances["val"],
        _count_of(set(train), val),
    )  # fmt: skip


def class_names(data_yaml: Path) -> tuple[str, ...]:
    """In the order of their numbers, be they listed or numbered in the file."""
    names = yaml.safe_load(data_yaml.read_text())["names"]
    return tuple(names[i] for i in sorted(names)) if isinstance(names, dict) else tuple(names)


def _checked_labels(folder: Path, classes: int) -> tuple[str, dict[str, int]]:
    """What all the labels are, and how many each split has."""
    first, counts = "", dict.fromkeys(SPLITS, 0)
    for split in SPLITS:
        for place, words in _label_lines(folder, split):
            first = first or _kind(words)
            if fault := _fault(words, classes) or _stranger(words, first):
                raise StageError(f"dataset: {place}: {fault}")
            counts[split] += 1
        if not counts[split]:
            raise StageError(f"dataset: the {split} pictures have no labels at all")
    return first, counts


def _label_lines(folder: Path, split: str) -> Iterator[tuple[str, list[str]]]:
    """Where each label is, and its words."""
    for path in sorted((folder / "labels" / split).glob("*.txt")):
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
            if words := line.split():
                yield f"{split}/{path.name} line {number}", words


def _kind(words: list[str]) -> str:
    return "boxes" if len(words) == 5 else "polygons"


def _stranger(words: list[str], first: str) -> str | None:
    """Why this label cannot stand among the others, or None."""
    if (kind := _kind(words)) == first:
        return None
    return f"{kind} among {first}, where Ultralytics would drop the polygons: give labels of one kind"


def _fault(words: list[str], classes: int) -> str | None:
    """What is wrong with a label line, or None; a good one is a class, and a box or three points or more, in 0–1."""
    try:
        label, *values = map(float, words)
    except ValueError:
        return f"not all numbers: {' '.join(words)[:40]!r}"
    if not (label.is_integer() and 0 <= label < classes):
        return f"class {words[0]} where data.yaml names {classes} classes (0–{classes - 1})"
    return _box_fault(values) if len(values) == 4 else _polygon_fault(values)


def _box_fault(values: list[float]) -> str | None:
    if not all(-TOLERANCE <= value <= 1 + TOLERANCE for value in values):
        return "box outside 0–1: its centre and size are fractions of the picture's width and height"
    if not min(values[2:]) > 0:
        return "empty box: the last two numbers, its width and height, must be above 0"
    return None


def _polygon_fault(values: list[float]) -> str | None:
    if len(values) < 6 or len(values) % 2:
        return (
            f"{len(values)} numbers after the class, where 4 are a box's x y w h, and 6, 8, 10, … a polygon's corners"
        )
    if not all(-TOLERANCE <= value <= 1 + TOLERANCE for value in values):
        return "points outside 0–1: corners are fractions of the picture's width and height"
    return None


def _decoded(pictures: list[Path], tools: Tools) -> list[str]:
    """A digest of each one's pixels."""
    found = []
    with ThreadPoolExecutor() as pool:
        for done, pixels in enumerate(pool.map(_pixels, pictures), start=1):
            found.append(pixels)
            tools.progress(done, len(pictures))
    return found


def _count_of(some: set[str], among: list[str]) -> int:
    return sum(pixels in some for pixels in among)


def _pixels(picture: Path) -> str:
    """The same for the same pixels, however they are encoded."""
    decoded = read_picture(picture)
    return hashlib.sha256(f"{decoded.shape}".encode() + decoded.tobytes()).hexdigest()
