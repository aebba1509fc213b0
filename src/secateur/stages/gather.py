"""Pictures without labels, to learn from the unpruned net on; none of them may be a validation picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from secateur.datasets._yolo import PICTURES
from secateur.errors import StageError
from secateur.ports import Tools
from secateur.results import Artifact
from secateur.store import artifact, digest

VERSION = 1
LIBRARIES: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inputs:
    """`folder` is looked through with all that lies below it."""

    folder: Artifact
    data: Artifact


@dataclass(frozen=True)
class Outputs:
    """`pictures` is a folder that holds an `images` folder."""

    pictures: Artifact
    images: int


def run(inputs: Inputs, tools: Tools, out: Path) -> Outputs:
    """Links all pictures, numbered; raises StageError where there are none, or where one has a validation picture's
    bytes."""
    found = sorted(path for path in inputs.folder.path.rglob("*") if path.suffix.lower() in PICTURES)
    if not found:
        raise StageError(f"dataset.unlabelled: no pictures in {inputs.folder.path}")
    unseen = {digest(path) for path in (inputs.data.path / "images" / "val").iterdir()}
    images = out / "pictures" / "images"
    images.mkdir(parents=True)
    for number, path in enumerate(found):
        if digest(path) in unseen:
            raise StageError(f"dataset.unlabelled: {path} is a validation picture; scores would not be honest")
        (images / f"{number:06d}{path.suffix}").symlink_to(path.resolve())
        tools.progress(number + 1, len(found))
    return Outputs(artifact(out / "pictures"), len(found))
