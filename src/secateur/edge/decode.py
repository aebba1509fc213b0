"""A net's raw outputs as boxes: what Ultralytics' `non_max_suppression` does, in numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.errors import ExportError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Numbers = NDArray[np.int32]

COORDINATES = 4  # of a box, before its class scores
ROW = 6  # of a head that suppresses boxes itself: x1 y1 x2 y2, score, label
MOST_CANDIDATES = 30_000
CLASS_OFFSET = 7680  # px; moves the boxes of different classes so far apart that they never overlap
BLOCK = 128  # candidates that are compared with each other at once


@dataclass(frozen=True)
class Choice:
    """Which boxes count: those surer than `confidence` that overlap no surer one of their class by more than `iou`.

    `classes` names the labels that are wanted, none: all. With `multi_label`, as Ultralytics' validator has it, a box
    counts once for each class it is sure enough of.
    """

    confidence: float = 0.25
    iou: float = 0.7
    max_det: int = 300
    classes: tuple[int, ...] = ()
    multi_label: bool = False

    def __post_init__(self) -> None:
        for name in ("confidence", "iou"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        if self.max_det < 1:
            raise ValueError(f"max_det must be 1 or more, got {self.max_det}")


@dataclass(frozen=True)
class Candidates:
    """Boxes in the net's own pixels."""

    boxes: Floats  # (n, 4), x1 y1 x2 y2
    scores: Floats  # (n,)
    labels: Numbers  # (n,)
    coefficients: Floats  # (n, prototypes); of a detector (n, 0)

    def take(self, at: NDArray[Any]) -> Candidates:
        """Those that a mask chooses, or indices, in the order of these."""
        return Candidates(self.boxes[at], self.scores[at], self.labels[at], self.coefficients[at])


def decode(outputs: Sequence[NDArray[Any]], classes: int | None, choice: Choice) -> tuple[Candidates, Floats | None]:
    """What is left of the first picture of a batch, the surest first, and its prototypes (k, height, width).

    `classes` is how many the net knows, None: all numbers of a box that are neither coordinates nor coefficients.
    Raises ExportError where the outputs are not those of a YOLO of so many classes.
    """
    rows, prototypes = _outputs(outputs)
    coefficients = 0 if prototypes is None else len(prototypes)
    if classes is None:
        classes = 0 if rows.shape[1] == ROW + coefficients else len(rows) - COORDINATES - coefficients
    if len(rows) == COORDINATES + classes + coefficients:
        return suppress(_likely(rows, classes, choice), choice), prototypes
    if rows.shape[1] == ROW + coefficients:
        return _suppressed(rows, choice), prototypes
    raise ExportError(
        f"the model gives boxes of the shape {rows.shape}, a YOLO with {classes} classes and {coefficients} prototypes "
        f"gives ({COORDINATES + classes + coefficients}, n) or (n, {ROW + coefficients}); are these its names?"
    )


def suppress(candidates: Candidates, choice: Choice) -> Candidates:
    """Those that overlap no surer one of their class by more than `choice.iou`, the surest first."""
    order = np.argsort(-candidates.scores, kind="stable")[:MOST_CANDIDATES]
    offsets = candidates.labels[order, None].astype(np.float32) * np.float32(CLASS_OFFSET)
    kept = _greedy(candidates.boxes[order] + offsets, choice.iou, choice.max_det)
    return candidates.take(order[kept])


def _outputs(outputs: Sequence[NDArray[Any]]) -> tuple[Floats, Floats | None]:
    """The boxes and the prototypes of the first picture, whichever order a runtime gives them in."""
    by_rank = {output.ndim: output[0] for output in outputs}
    if 3 not in by_rank or not by_rank.keys() <= {3, 4}:
        shapes = ", ".join(str(output.shape) for output in outputs)
        raise ExportError(f"the model gives {shapes}; a YOLO that detects or segments gives (1, n, m) and no more than "
                          "prototypes (1, k, height, width) beside")  # fmt: skip
    prototypes = by_rank.get(4)
    return by_rank[3].astype(np.float32, copy=False), (
        None if prototypes is None else prototypes.astype(np.float32, copy=False)
    )


def _suppressed(rows: Floats, choice: Choice) -> Candidates:
    """Of a head that suppresses boxes itself, (n, 6 + prototypes), the surest first."""
    sure = rows[:, COORDINATES] > choice.confidence
    if choice.classes:
        sure &= np.isin(rows[:, COORDINATES + 1], choice.classes)
    sure &= np.isfinite(rows).all(1)
    rows = rows[np.flatnonzero(sure)[: choice.max_det]]
    return Candidates(rows[:, :COORDINATES], rows[:, COORDINATES], rows[:, ROW - 1].astype(np.int32), rows[:, ROW:])


def _likely(rows: Floats, classes: int, choice: Choice) -> Candidates:
    """Those that are sure enough of a class, of (4 + classes + prototypes, anchors)."""
    end = COORDINATES + classes
    sure = np.flatnonzero(rows[COORDINATES:end].max(0) > choice.confidence)
    rows = np.ascontiguousarray(rows[:, sure].T)  # (n, 4 + classes + prototypes)
    rows = rows[np.isfinite(rows).all(1)]
    scores = rows[:, COORDINATES:end]
    if choice.multi_label:
        at, labels = np.nonzero(scores > choice.confidence)
    else:
        at, labels = np.arange(len(rows)), scores.argmax(1) if len(rows) else np.zeros(0, np.intp)
    if choice.classes:
        wanted = np.isin(labels, choice.classes)
        at, labels = at[wanted], labels[wanted]
    boxes = _corners(rows[:, :COORDINATES])
    return Candidates(boxes[at], scores[at, labels], labels.astype(np.int32), rows[at, end:])


def _corners(boxes: Floats) -> Floats:
    """x1 y1 x2 y2 of boxes given as centre, width and height."""
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def _greedy(boxes: Floats, iou: float, most: int) -> NDArray[np.intp]:
    """Which of the boxes, the surest first, overlap none that is kept before them; at most so many.

    Block by block: first against all that are kept, which leaves few, then among themselves.
    """
    kept = np.zeros(0, np.intp)
    for start in range(0, len(boxes), BLOCK):
        block = np.arange(start, min(start + BLOCK, len(boxes)))
        block = block[~_overlap(boxes[kept], boxes[block], iou).any(0)]
        kept = np.concatenate([kept, block[_first(_overlap(boxes[block], boxes[block], iou))]])
        if len(kept) >= most:
            break
    return kept[:most]


def _first(overlap: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(n,): which of n boxes no earlier one that stays overlaps."""
    stays = np.ones(len(overlap), bool)
    later = np.triu(overlap, 1)
    for at in np.flatnonzero(later.any(1)):
        if stays[at]:
            stays &= ~later[at]
    return stays


def _overlap(boxes: Floats, others: Floats, iou: float) -> NDArray[np.bool_]:
    """(n, m): whether their intersection is more than `iou` of their union."""
    width, height = (_shared(boxes[:, [side, side + 2]], others[:, [side, side + 2]]) for side in (0, 1))
    shared = width * height
    with np.errstate(invalid="ignore", divide="ignore"):  # of boxes without area
        return shared / (_area(boxes)[:, None] + _area(others)[None] - shared) > iou


def _shared(spans: Floats, others: Floats) -> Floats:
    """(n, m): how long the intersection of two spans (n, 2) and (m, 2) is, 0 where they have none."""
    between = np.minimum(spans[:, None, 1], others[None, :, 1])
    between -= np.maximum(spans[:, None, 0], others[None, :, 0])
    return np.maximum(between, 0, out=between)


def _area(boxes: Floats) -> Floats:
    sides = boxes[:, 2:] - boxes[:, :2]
    return sides[:, 0] * sides[:, 1]
