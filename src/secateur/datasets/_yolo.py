"""Data sets in YOLO format: reading the data yaml, finding the pictures, linking them into one layout."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from secateur.errors import SpecError

SPLITS = ("train", "val")
PICTURES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True)
class Layout:
    """Where each picture of a split is, and what the classes are called."""

    names: dict[int, str]
    pictures: dict[str, tuple[Path, ...]]

    def digest(self) -> str:
        """sha256 of the names, and of the content of all pictures and labels in their order."""
        total = hashlib.sha256(repr(sorted(self.names.items())).encode())
        for split in SPLITS:
            for picture in self.pictures[split]:
                label = label_of(picture)
                lines = label.read_bytes() if label.is_file() else b""
                total.update(f"{split}/{picture.name}".encode())
                total.update(hashlib.sha256(picture.read_bytes()).digest() + hashlib.sha256(lines).digest())
        return total.hexdigest()


def read(data_yaml: Path) -> Layout:
    """Raises SpecError, in one line, where the file is missing or says nothing that can be followed."""
    said = _parse(data_yaml)
    root = _root(said, data_yaml)
    pictures = {split: tuple(_pictures(said, split, root, data_yaml)) for split in SPLITS}
    return Layout(_names(said, data_yaml), pictures)


def link(layout: Layout, out: Path) -> None:
    """Fills `out` with data.yaml, and links to the pictures and labels under images/ and labels/."""
    for split in SPLITS:
        images, labels = out / "images" / split, out / "labels" / split
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for picture in layout.pictures[split]:
            (images / picture.name).symlink_to(picture.absolute())
            if (label := label_of(picture)).is_file():
                (labels / label.name).symlink_to(label.absolute())
    write_data_yaml(out, layout.names)


def write_data_yaml(out: Path, names: dict[int, str]) -> None:
    """What says where the pictures are, and what the classes are called."""
    said = {"train": "images/train", "val": "images/val", "names": names}
    (out / "data.yaml").write_text(yaml.safe_dump(said, sort_keys=False))


def label_of(picture: Path) -> Path:
    """The same path with the last `images` folder called `labels`, as Ultralytics has it."""
    parts = list(picture.parts)
    if "images" in parts:
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return Path(*parts).with_suffix(".txt")


def _parse(data_yaml: Path) -> dict[str, Any]:
    try:
        said = yaml.safe_load(data_yaml.read_text())
    except OSError as error:
        raise SpecError(f"dataset: cannot read {data_yaml}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SpecError(f"dataset: {data_yaml} is no YAML: {' '.join(str(error).split())}") from error
    missing = [key for key in (*SPLITS, "names") if not (isinstance(said, dict) and said.get(key))]
    if missing:
        raise SpecError(f"dataset: {data_yaml} does not say {', '.join(missing)}")
    assert isinstance(said, dict)
    return said


def _names(said: dict[str, Any], data_yaml: Path) -> dict[int, str]:
    names = said["names"]
    if isinstance(names, list):
        return {index: str(name) for index, name in enumerate(names)}
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        return {index: str(names[index]) for index in sorted(names)}
    raise SpecError(f"dataset: names in {data_yaml} must be a list, or numbered from 0 without gaps")


def _root(said: dict[str, Any], data_yaml: Path) -> Path:
    """`path` if it leads somewhere, else the yaml's own folder."""
    root = data_yaml.parent / str(said.get("path") or ".")
    return root if root.is_dir() else data_yaml.parent


def _pictures(said: dict[str, Any], split: str, root: Path, data_yaml: Path) -> list[Path]:
    sources = said[split] if isinstance(said[split], list) else [said[split]]
    listed = {path for source in sources for path in _listed(root / str(source))}
    found = sorted(listed, key=lambda path: (path.stem, path.name))
    if not found:
        raise SpecError(f"dataset: no {split} pictures at {root / str(sources[0])} ({data_yaml.name} says so)")
    names = [path.stem for path in found]  # the label's name too
    twice = next((name for name, after in itertools.pairwise(names) if name == after), None)
    if twice:
        raise SpecError(f"dataset: two {split} pictures are called {twice}; names must be unique within a split")
    return found


def _listed(source: Path) -> Iterator[Path]:
    """The pictures of a folder, or of a text file that lists them."""
    if source.is_dir():
        yield from (path for path in source.rglob("*") if path.suffix.lower() in PICTURES)
    elif source.is_file():
        for line in filter(None, map(str.strip, source.read_text().splitlines())):
            if not (picture := source.parent / line).is_file():
                raise SpecError(f"dataset: {source} lists {line}, which is not there")
            yield picture
