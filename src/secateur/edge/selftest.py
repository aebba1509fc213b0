"""Whether a model file gives here what it gave where it was bundled: raw outputs, and what is found in the samples.

Whole outputs are too large to take along, so some of their values are: at the positions with the highest scores, and at
others spread evenly. They are compared by part, as boxes are in pixels and scores are shares.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.edge.decode import COORDINATES
from secateur.errors import ExportError, require
from secateur.manifest import SAMPLES, Check

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from secateur.edge.letterbox import Pixels
    from secateur.edge.predictor import Detections, Predictor

    Floats = NDArray[np.float32]

EXPECTED = f"{SAMPLES}/expected.json"

HIGHEST, EVEN = 16, 16  # positions of each part that are taken along
LEAST_SPREAD = 0.01  # of a part: where next to nothing is found, a score of 0.001 is as good as one of 0.002
FLOAT_ALLOWED, INT8_ALLOWED = 0.05, 0.15  # docs/bundle.md says how they were chosen
SURE = 0.5  # score of a detection that must be found again: others may fall below what is reported
SAME_PLACE = 0.5  # IoU


@dataclass(frozen=True)
class Sketch:
    """Some values of one part of the outputs for one picture: (channels, positions) of a `shape` of so many."""

    shape: tuple[int, int]
    positions: tuple[int, ...]
    values: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        channels, count = self.shape
        require(all(0 <= at < count for at in self.positions), "a sketch has positions outside its map")
        whole = len(self.values) == channels and all(len(row) == len(self.positions) for row in self.values)
        require(whole, "a sketch has another number of values than of channels and positions")


@dataclass(frozen=True)
class Found:
    """A detection, its box x1 y1 x2 y2 in pixels of its picture."""

    label: int
    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Seen:
    """What a file made of one picture."""

    parts: dict[str, Sketch]
    found: tuple[Found, ...]


@dataclass(frozen=True)
class Expected:
    """What a file gave where it was bundled, picture by picture, and how far off another device may be."""

    allowed: float
    pictures: tuple[Seen, ...]


def expect(predictor: Predictor, pictures: Sequence[Pixels], quantization: str) -> Expected:
    """What the file gives here and now."""
    is_int8 = quantization.startswith(("int8", "nncf"))
    return Expected(INT8_ALLOWED if is_int8 else FLOAT_ALLOWED, tuple(_seen(predictor, each) for each in pictures))


def check(predictor: Predictor, pictures: Sequence[Pixels], expected: Expected) -> Check:
    """Compares it with what is expected of the same pictures."""
    looks = [_look(predictor, picture) for picture in pictures]
    given = [look.parts for look in looks]
    names = sorted({name for seen in expected.pictures for name in seen.parts})
    deviations = {name: _deviation(name, given, expected.pictures) for name in names}
    if None in deviations.values():
        return Check(deviations, expected.allowed)  # nothing can be found in what is no number, or of another shape
    pairs = [(_sure(seen.found), look.found()) for seen, look in zip(expected.pictures, looks, strict=True)]
    lost = sum(not _again(wanted, found) for sure, found in pairs for wanted in sure)
    return Check(deviations, expected.allowed, sum(len(sure) for sure, _ in pairs), lost)


# ---- the outputs, by part ------------------------------------------------------------------------


def parts(outputs: Sequence[NDArray[Any]], classes: int) -> dict[str, Floats]:
    """(channels, positions) of each part that a YOLO gives for the first picture: boxes, scores, coefficients,
    prototypes; raises ExportError where it is none."""
    by_rank: dict[int, Floats] = {output.ndim: output[0] for output in outputs}
    if 3 not in by_rank:
        raise ExportError(f"the model gives {[each.shape for each in outputs]}, nothing that a YOLO gives")
    prototypes = {"prototypes": by_rank[4].reshape(len(by_rank[4]), -1)} if 4 in by_rank else {}
    coefficients = len(by_rank[4]) if prototypes else 0
    known = len(by_rank[3]) == COORDINATES + classes + coefficients
    return (_boxes(by_rank[3], classes) if known else _suppressed(by_rank[3])) | prototypes


def _boxes(output: Floats, classes: int) -> dict[str, Floats]:
    """Of (channels, positions)."""
    until = COORDINATES + classes
    named = {"boxes": output[:COORDINATES], "scores": output[COORDINATES:until], "coefficients": output[until:]}
    return {name: values for name, values in named.items() if len(values)}


def _suppressed(output: Floats) -> dict[str, Floats]:
    """Of (boxes, numbers) of a head that suppresses boxes itself: the scores only, as their order hangs on trifles."""
    return {"scores": -np.sort(-output[None, :, COORDINATES])}


@dataclass(frozen=True)
class _Look:
    """A picture's raw outputs, and how to find something in them: that takes numbers, which they may not be."""

    parts: dict[str, Floats]
    detections: Callable[[], Detections]

    def found(self) -> list[Found]:
        seen = self.detections()
        rows = zip(seen.labels.tolist(), seen.scores.tolist(), seen.boxes.tolist(), strict=True)
        return [Found(label, round(score, 4), _box(box)) for label, score, box in rows]


def _look(predictor: Predictor, pixels: Pixels) -> _Look:
    image, placement = predictor.preprocess(pixels)
    outputs = predictor.run(image)
    found = partial(predictor.postprocess, outputs, placement, pixels.shape[0], pixels.shape[1])
    return _Look(parts(outputs, len(predictor.names)), found)


def _seen(predictor: Predictor, pixels: Pixels) -> Seen:
    look = _look(predictor, pixels)
    scores = look.parts["scores"]
    sketches = {name: _sketch(values, _positions(values, scores)) for name, values in look.parts.items()}
    return Seen(sketches, tuple(look.found()))


def _positions(values: Floats, scores: Floats) -> list[int]:
    count = values.shape[1]
    chosen = set(np.linspace(0, count - 1, EVEN).astype(int).tolist())
    if count == scores.shape[1]:
        chosen.update(np.argsort(-scores.max(axis=0))[:HIGHEST].tolist())
    return sorted(chosen)


def _sketch(values: Floats, positions: list[int]) -> Sketch:
    channels, count = values.shape
    return Sketch((channels, count), tuple(positions), tuple(_rounded(row) for row in values[:, positions]))


def _rounded(values: NDArray[Any]) -> tuple[float, ...]:
    return tuple(float(f"{value:.4g}") for value in values)


def _deviation(part: str, given: Sequence[dict[str, Floats]], expected: Sequence[Seen]) -> float | None:
    """Of the picture in which it is largest; None where something is not finite or of another shape."""
    of_each = [_off(own.get(part), seen.parts[part]) for own, seen in zip(given, expected, strict=True)]
    told = [each for each in of_each if each is not None]
    return max(told) if len(told) == len(of_each) else None


def _off(values: Floats | None, sketch: Sketch) -> float | None:
    """Root mean square of the differences over that of how far the expected values are from their channel's mean."""
    if values is None or values.shape != sketch.shape:
        return None
    wanted = np.array(sketch.values)
    difference = values[:, sketch.positions] - wanted
    spread = max(_rms(wanted - wanted.mean(axis=1, keepdims=True)), LEAST_SPREAD)
    return _rms(difference) / spread if np.isfinite(difference).all() else None


def _rms(values: NDArray[Any]) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


# ---- the detections ------------------------------------------------------------------------------


def _box(corners: list[float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = (round(corner, 2) for corner in corners)
    return left, top, right, bottom


def _sure(found: Sequence[Found]) -> list[Found]:
    return [each for each in found if each.score >= SURE]


def _again(wanted: Found, found: Sequence[Found]) -> bool:
    return any(each.label == wanted.label and _overlap(each.box, wanted.box) >= SAME_PLACE for each in found)


def _overlap(box: Sequence[float], other: Sequence[float]) -> float:
    """Their intersection as a share of their union."""
    (left, top), (right, bottom) = np.maximum(box[:2], other[:2]), np.minimum(box[2:], other[2:])
    shared = max(right - left, 0.0) * max(bottom - top, 0.0)
    union = _area(box) + _area(other) - shared
    return float(shared / union) if union > 0 else 0.0


def _area(box: Sequence[float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
