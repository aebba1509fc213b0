"""Pictures with annotations in COCO's JSON format, which are converted; nothing is written beside them."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secateur.datasets._yolo import SPLITS, write_data_yaml
from secateur.errors import SpecError
from secateur.ports import Downloads

Points = list[float]
"""x and y in turns, px."""


@dataclass(frozen=True)
class _Split:
    """Pictures and the lines of their labels, by the picture's name."""

    names: dict[int, str]
    pictures: dict[str, Path]
    lines: dict[str, list[str]]


@dataclass(frozen=True)
class CocoJson:
    """`train` and `val` are the JSON files, `train_images` and `val_images` the folders that their file names count
    from. Crowds are left out; annotations without outlines make a data set of boxes, for a detector."""

    train: str
    val: str
    train_images: str
    val_images: str
    unlabelled: str | None = None

    def check(self) -> None:
        """Raises SpecError where a file or a folder is not there."""
        for key in SPLITS:
            if not Path(getattr(self, key)).expanduser().is_file():
                raise SpecError(f"dataset.{key}: no file {getattr(self, key)!r}")
            if not Path(getattr(self, f"{key}_images")).expanduser().is_dir():
                raise SpecError(f"dataset.{key}_images: no folder {getattr(self, f'{key}_images')!r}")

    def digest(self, downloads: Downloads) -> str:
        splits = self._splits()
        total = hashlib.sha256(repr(sorted(splits["val"].names.items())).encode())
        for key, split in splits.items():
            for name, picture in split.pictures.items():
                total.update(f"{key}/{name}".encode() + hashlib.sha256(picture.read_bytes()).digest())
                total.update("\n".join(split.lines[name]).encode())
        return total.hexdigest()

    def write(self, out: Path, downloads: Downloads) -> None:
        splits = self._splits()
        for key, split in splits.items():
            images, labels = out / "images" / key, out / "labels" / key
            images.mkdir(parents=True)
            labels.mkdir(parents=True)
            for name, picture in split.pictures.items():
                (images / name).symlink_to(picture.absolute())
                (labels / name).with_suffix(".txt").write_text("".join(f"{line}\n" for line in split.lines[name]))
        write_data_yaml(out, splits["val"].names)

    def _splits(self) -> dict[str, _Split]:
        said = {key: _parse(Path(getattr(self, key)).expanduser()) for key in SPLITS}
        outlined = True
        for key in SPLITS:
            with _in_cocos_format(getattr(self, key)):
                outlined = outlined and all(map(_polygons, _instances(said[key])))
        found = {key: _split(said[key], *self._places(key), outlined) for key in SPLITS}
        if found["train"].names != found["val"].names:
            raise SpecError(f"dataset: {self.train} and {self.val} have other categories")
        return found

    def _places(self, key: str) -> tuple[str, Path]:
        return getattr(self, key), Path(getattr(self, f"{key}_images")).expanduser()


def _parse(file: Path) -> dict[str, Any]:
    try:
        said: Any = json.loads(file.read_bytes())
    except OSError as error:
        raise SpecError(f"dataset: cannot read {file}: {error.strerror}") from error
    except ValueError as error:
        raise SpecError(f"dataset: {file} is no JSON: {error}") from error
    missing = [key for key in ("images", "annotations", "categories") if not (isinstance(said, dict) and key in said)]
    if missing:
        raise SpecError(f"dataset: {file} does not say {', '.join(missing)}")
    assert isinstance(said, dict)
    return said


def _instances(said: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [each for each in said["annotations"] if not each.get("iscrowd")]


def _polygons(annotation: Mapping[str, Any]) -> list[Points]:
    """Its parts; none where it has a box only. Raises SpecError where it is a mask of run lengths."""
    parts = annotation.get("segmentation") or []
    if isinstance(parts, dict):
        raise SpecError(
            f"dataset: annotation {annotation['id']} is a mask of run lengths, which YOLO's labels cannot hold; "
            "export polygons from the tool that made it"
        )
    return [part for part in parts if len(part) >= 6]


@contextmanager
def _in_cocos_format(file: str) -> Iterator[None]:
    """Whatever a strange value leads to is told of the file."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise SpecError(f"dataset: {file} is not in COCO's format: {type(error).__name__} at {error}") from error


def _split(said: Mapping[str, Any], file: str, folder: Path, outlined: bool) -> _Split:
    with _in_cocos_format(file):
        kinds = sorted(said["categories"], key=lambda kind: kind["id"])
        numbers = {kind["id"]: number for number, kind in enumerate(kinds)}
        names = {number: str(kind["name"]) for number, kind in enumerate(kinds)}
        sizes = {image["id"]: (image["width"], image["height"]) for image in said["images"]}
        lines: dict[Any, list[str]] = defaultdict(list)
        for each in _instances(said):
            size = sizes[each["image_id"]]
            points = _around(_polygons(each)) if outlined else _box(each["bbox"], size)
            lines[each["image_id"]].append(_line(numbers[each["category_id"]], points, size))
        pictures = {image["id"]: folder / image["file_name"] for image in said["images"]}
        flat = {
            _flat(picture, folder): number for number, picture in sorted(pictures.items(), key=lambda each: each[1])
        }
    if missing := next((picture for picture in pictures.values() if not picture.is_file()), None):
        raise SpecError(f"dataset: {file} lists {missing.relative_to(folder)}, which is not in {folder}")
    if not pictures or len({Path(name).stem for name in flat}) < len(said["images"]):
        raise SpecError(
            f"dataset: {file} must list pictures, each with an id of its own, and a name of its own without its ending"
        )
    return _Split(names, {n: pictures[i] for n, i in flat.items()}, {n: lines[i] for n, i in flat.items()})


def _flat(picture: Path, folder: Path) -> str:
    """`a_b.jpg` of `a/b.jpg`, as all pictures of a split come into one folder. Raises ValueError outside of it."""
    return "_".join(picture.relative_to(folder).parts)


def _around(parts: Sequence[Points]) -> Points:
    """One outline around all parts: to each other part and back on the same way, which encloses nothing."""
    first, *others = parts
    start = first[:2]
    return [*first, *(point for other in others for point in (*start, *other, *other[:2], *start))]


def _box(bbox: Sequence[float], size: tuple[int, int]) -> Points:
    """Centre, width and height, of what of x, y, width and height lies within the picture."""
    x, y, width, height = bbox
    (left, right), (top, bottom) = (
        (min(max(low, 0.0), side), min(max(low + length, 0.0), side))
        for low, length, side in zip((x, y), (width, height), size, strict=True)
    )
    return [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]


def _line(number: int, points: Points, size: tuple[int, int]) -> str:
    """A label: shares of the picture's width and height in turns, within it."""
    shares = (min(max(value / size[place % 2], 0.0), 1.0) for place, value in enumerate(points))
    return " ".join([str(number), *(f"{share:.6f}" for share in shares)])
