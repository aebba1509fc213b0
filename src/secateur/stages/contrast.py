"""What mAP differs by, over all and of each class, on the same validation pictures: of files from the unpruned FP32
file's, of a net from what it was before it was trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from secateur import matches
from secateur.bootstrap import average_precisions, change, means, redraws
from secateur.errors import StageError
from secateur.ports import Tools
from secateur.results import AccuracyChange, Artifact, ClassChange

if TYPE_CHECKING:
    from secateur.bootstrap import Floats, Ints
    from secateur.matches import Matches

    Scores = tuple[Floats, Floats | None]  # (1 + draws, classes) of boxes and of masks

VERSION = 3
LIBRARIES = ("numpy",)


@dataclass(frozen=True)
class Inputs:
    """`baseline`, which all are compared with, and `candidates` are matches, as the evaluate stage makes them; `names`
    are the classes'."""

    baseline: Artifact
    candidates: dict[str, Artifact]
    names: tuple[str, ...]
    draws: int
    seed: int


@dataclass(frozen=True)
class Outputs:
    """By the candidates' names; `classes` has those that have objects, in the data set's order."""

    changes: dict[str, AccuracyChange]
    classes: dict[str, tuple[ClassChange, ...]]


def run(inputs: Inputs, tools: Tools, out: Path) -> Outputs:
    """By a bootstrap over the pictures that redraws the same ones for all; raises StageError where a candidate was
    scored on others than the baseline."""
    baseline = matches.read(inputs.baseline.path)
    counts = redraws(baseline.images, inputs.draws, inputs.seed)
    counts = np.vstack([np.ones_like(counts[:1]), counts])
    before = _scores(baseline, counts)
    named = [(inputs.names[label], *_held(baseline, label)) for label in np.unique(baseline.object_label)]
    changes, classes = {}, {}
    for done, (name, candidate) in enumerate(inputs.candidates.items()):
        tools.progress(done, len(inputs.candidates))
        found = _of_the_same_pictures(name, matches.read(candidate.path), baseline)
        after = _scores(found, counts)
        changes[name] = _change(before, after)
        classes[name] = _class_changes(named, before, after)
    return Outputs(changes, classes)


def _scores(found: Matches, counts: Ints) -> Scores:
    box = average_precisions(found, found.box, counts)
    return box, None if found.mask is None else average_precisions(found, found.mask, counts)


def _change(before: Scores, after: Scores) -> AccuracyChange:
    (box_before, mask_before), (box_after, mask_after) = before, after
    box = change(means(box_before), means(box_after))
    if mask_before is None or mask_after is None:
        return AccuracyChange(box, None)
    return AccuracyChange(box, change(means(mask_before), means(mask_after)))


def _held(found: Matches, label: int) -> tuple[int, int]:
    """How many objects of a class there are, and in how many pictures."""
    images = found.object_image[found.object_label == label]
    return len(images), len(np.unique(images))


def _class_changes(named: list[tuple[str, int, int]], before: Scores, after: Scores) -> tuple[ClassChange, ...]:
    """Of masks, or of boxes where either net has no masks."""
    (box_before, mask_before), (box_after, mask_after) = before, after
    has_masks = mask_before is not None and mask_after is not None
    old, new = (mask_before, mask_after) if has_masks else (box_before, box_after)
    return tuple(
        ClassChange(name, objects, pictures, float(was[0]), float(now[0]), change(was, now))
        for (name, objects, pictures), was, now in zip(named, old.T, new.T, strict=True)  # type: ignore[union-attr]
    )


def _of_the_same_pictures(name: str, found: Matches, baseline: Matches) -> Matches:
    if not found.same_objects(baseline):
        raise StageError(f"{name} was scored on other pictures than the baseline: score both on one data set")
    return found
