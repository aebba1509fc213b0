"""What each candidate's mAP differs by from the baseline's, on the same validation pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from secateur import matches
from secateur.bootstrap import change, mean_average_precisions, redraws
from secateur.errors import StageError
from secateur.ports import Tools
from secateur.results import AccuracyChange, Artifact

if TYPE_CHECKING:
    from secateur.bootstrap import Floats, Ints
    from secateur.matches import Matches

    Scores = tuple[Floats, Floats | None]  # box and mask mAP of all redraws

VERSION = 1
LIBRARIES = ("numpy",)


@dataclass(frozen=True)
class Inputs:
    """`baseline` and `candidates` are matches, as the evaluate stage makes them."""

    baseline: Artifact
    candidates: dict[str, Artifact]
    draws: int
    seed: int


@dataclass(frozen=True)
class Outputs:
    changes: dict[str, AccuracyChange]


def run(inputs: Inputs, tools: Tools, out: Path) -> Outputs:
    baseline = matches.read(inputs.baseline.path)
    counts = redraws(baseline.images, inputs.draws, inputs.seed)
    counts = np.vstack([np.ones_like(counts[:1]), counts])
    before = _scores(baseline, counts)
    changes = {}
    for done, (name, candidate) in enumerate(inputs.candidates.items()):
        tools.progress(done, len(inputs.candidates))
        found = _of_the_same_pictures(name, matches.read(candidate.path), baseline)
        changes[name] = _change(before, _scores(found, counts))
    return Outputs(changes)


def _scores(found: Matches, counts: Ints) -> Scores:
    box = mean_average_precisions(found, found.box, counts)
    return box, None if found.mask is None else mean_average_precisions(found, found.mask, counts)


def _change(before: Scores, after: Scores) -> AccuracyChange:
    (box_before, mask_before), (box_after, mask_after) = before, after
    box = change(box_before, box_after)
    if mask_before is None or mask_after is None:
        return AccuracyChange(box, None)
    return AccuracyChange(box, change(mask_before, mask_after))


def _of_the_same_pictures(name: str, found: Matches, baseline: Matches) -> Matches:
    if not found.same_objects(baseline):
        raise StageError(f"{name} was scored on other pictures than the baseline: score both on one data set")
    return found
