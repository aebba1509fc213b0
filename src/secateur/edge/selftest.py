"""Whether a model file gives here what it gave where it was bundled.

Whole outputs are too large to take along, so some of their values are: at the positions with the highest scores, and at
others spread evenly. They are compared by part, as boxes are in pixels and scores are shares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.errors import ExportError
from secateur.manifest import SAMPLES, Check, require

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from secateur.ports import Image, Session

    Floats = NDArray[np.float32]

EXPECTED = f"{SAMPLES}/expected.json"

HIGHEST, EVEN = 16, 16  # positions of each part that are taken along
COORDINATES = 4  # of a box, before its class scores
LEAST_SPREAD = 0.01  # of a part: where next to nothing is found, a score of 0.001 is as good as one of 0.002
FLOAT_ALLOWED, INT8_ALLOWED = 0.05, 0.2  # see docs/bundle.md for how they were chosen


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


Sketches = Mapping[str, Sketch]
"""Of one picture, by part."""


@dataclass(frozen=True)
class Expected:
    """What a file gave where it was bundled, picture by picture, and how far off another device may be."""

    allowed: float
    pictures: tuple[dict[str, Sketch], ...]


def expect(session: Session, pictures: Sequence[Image], classes: int, quantization: str) -> Expected:
    """What the file gives here and now."""
    outputs = _given(session, pictures, classes)
    allowed = INT8_ALLOWED if quantization.startswith(("int8", "nncf")) else FLOAT_ALLOWED
    return Expected(allowed, tuple(_sketches(of_picture) for of_picture in outputs))


def check(session: Session, pictures: Sequence[Image], classes: int, expected: Expected) -> Check:
    """Compares it with what is expected of the same pictures."""
    given = _given(session, pictures, classes)
    names = sorted({name for sketches in expected.pictures for name in sketches})
    return Check({name: _deviation(name, given, expected.pictures) for name in names}, expected.allowed)


def _given(session: Session, pictures: Sequence[Image], classes: int) -> list[dict[str, Floats]]:
    """A file that takes several pictures at once gets the same one several times; the first answer counts."""
    batch = session.input_shape[0]
    return [parts(session.run(np.repeat(picture, batch, axis=0)), classes) for picture in pictures]


def parts(outputs: Sequence[NDArray[Any]], classes: int) -> dict[str, Floats]:
    """(channels, positions) of each part that Ultralytics' nets give: boxes, scores, coefficients, prototypes."""
    first, *prototypes = outputs
    if first.ndim != 3 or min(first.shape[1:]) <= COORDINATES:
        raise ExportError(f"output0 is {first.shape}, not the (1, numbers, boxes) of a YOLO; it cannot be tested")
    found = _suppressed(first[0]) if first.shape[-2] > first.shape[-1] else _boxes(first[0], classes)
    return found | ({"prototypes": prototypes[0][0].reshape(len(prototypes[0][0]), -1)} if prototypes else {})


def _boxes(output: Floats, classes: int) -> dict[str, Floats]:
    """Of (channels, positions)."""
    until = COORDINATES + classes
    named = {"boxes": output[:COORDINATES], "scores": output[COORDINATES:until], "coefficients": output[until:]}
    return {name: values for name, values in named.items() if len(values)}


def _suppressed(output: Floats) -> dict[str, Floats]:
    """Of (boxes, numbers) of a head that suppresses boxes itself: the scores only, as their order hangs on trifles."""
    return {"scores": -np.sort(-output[None, :, COORDINATES])}


def _sketches(of_picture: dict[str, Floats]) -> dict[str, Sketch]:
    return {name: _sketch(values, _positions(values, of_picture["scores"])) for name, values in of_picture.items()}


def _positions(values: Floats, scores: Floats) -> list[int]:
    count = values.shape[1]
    chosen = set(np.linspace(0, count - 1, EVEN).astype(int).tolist())
    if count == scores.shape[1]:
        chosen.update(np.argsort(-scores.max(axis=0))[:HIGHEST].tolist())
    return sorted(chosen)


def _sketch(values: Floats, positions: list[int]) -> Sketch:
    channels, count = values.shape
    rounded = tuple(tuple(float(f"{value:.4g}") for value in row) for row in values[:, positions])
    return Sketch((channels, count), tuple(positions), rounded)


def _deviation(part: str, given: Sequence[dict[str, Floats]], expected: Sequence[Sketches]) -> float | None:
    """Root mean square of the differences over that of how far the expected values are from their channel's mean;
    None where something is not finite or of another shape."""
    sketches = [sketches[part] for sketches in expected]
    if any(part not in own or own[part].shape != sketch.shape for own, sketch in zip(given, sketches, strict=True)):
        return None
    wanted = np.concatenate([np.array(sketch.values) for sketch in sketches], axis=1)
    got = [own[part][:, sketch.positions] for own, sketch in zip(given, sketches, strict=True)]
    difference = np.concatenate(got, axis=1) - wanted
    spread = max(_rms(wanted - wanted.mean(axis=1, keepdims=True)), LEAST_SPREAD)
    return _rms(difference) / spread if np.isfinite(difference).all() else None


def _rms(values: NDArray[Any]) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
