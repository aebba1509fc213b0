"""Masks in the picture's own pixels: what Ultralytics' `process_mask_native` gives, computed inside each box only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from secateur.edge.letterbox import place_in

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Masks = NDArray[np.bool_]

STRIDE = 4  # px of the net's input for one of the prototypes


@dataclass(frozen=True)
class Axis:
    """How the prototypes are sampled along one side of a picture.

    `weights` is (px, prototype px); a row is zero outside `first[px]` to `last[px]`.
    """

    weights: Floats
    first: NDArray[np.intp]
    last: NDArray[np.intp]


def masks(
    prototypes: Floats, coefficients: Floats, boxes: Floats, height: int, width: int
) -> tuple[Masks, NDArray[np.intp]]:
    """(m, height, width), and which m of the boxes they belong to: those with a pixel in them.

    Prototypes are (k, rows, columns), coefficients (n, k), boxes (n, 4) in the picture's own pixels.
    """
    count, rows, columns = prototypes.shape
    logits = (coefficients @ prototypes.reshape(count, -1)).reshape(-1, rows, columns)
    down, across = axes(height, width, rows, columns)
    places = [_place(box) for box in boxes]
    inside = [_inside(logit, down, tall, across, wide) for logit, (tall, wide) in zip(logits, places, strict=True)]
    seen = [at for at, mask in enumerate(inside) if mask.any()]
    found = np.zeros((len(seen), height, width), bool)  # pages that no mask touches cost nothing
    for mask, at in zip(found, seen, strict=True):
        mask[places[at]] = inside[at]
    return found, np.array(seen, np.intp)


def _place(box: Floats) -> tuple[slice, slice]:
    """Rows and columns of the pixels whose corner lies in the box."""
    left, top, right, bottom = (math.ceil(side) for side in box.tolist())
    return slice(top, bottom), slice(left, right)


def _inside(logit: Floats, down: Axis, tall: slice, across: Axis, wide: slice) -> Masks:
    """Where the logits, sampled bilinearly at some rows and columns of the picture, are above zero."""
    if tall.start >= tall.stop or wide.start >= wide.stop:
        return np.zeros((0, 0), bool)
    rows = slice(down.first[tall.start], down.last[tall.stop - 1] + 1)
    columns = slice(across.first[wide.start], across.last[wide.stop - 1] + 1)
    narrow = down.weights[tall, rows] @ logit[rows, columns]
    return narrow @ across.weights[wide, columns].T > 0


@lru_cache(maxsize=4)  # the frames of a video are all alike
def axes(height: int, width: int, rows: int, columns: int) -> tuple[Axis, Axis]:
    """Down and across: from prototypes of a letterboxed picture to the picture, without its padding.

    Where the padding ends amid a prototype's pixel they are first enlarged, as Ultralytics does it.
    """
    factor = _enlargement(height, width, rows, columns)
    at = place_in(height, width, rows * factor, columns * factor)
    return (
        _axis(rows, factor, at.top, at.height, height),
        _axis(columns, factor, at.left, at.width, width),
    )


def _enlargement(height: int, width: int, rows: int, columns: int) -> int:
    """1, 2 or 4: the least by which the prototypes must grow so that the padding consists of whole pixels."""
    at = place_in(height, width, STRIDE * rows, STRIDE * columns)
    padding = (STRIDE * rows - at.height) | (STRIDE * columns - at.width)
    return STRIDE // math.gcd(STRIDE, padding | padding // 2)


def _axis(size: int, factor: int, start: int, length: int, out: int) -> Axis:
    weights = _bilinear(length, out) @ _bilinear(size, size * factor)[start : start + length]
    there = weights != 0
    return Axis(weights, there.argmax(1), size - 1 - there[:, ::-1].argmax(1))


def _bilinear(size: int, out: int) -> Floats:
    """(out, size): linear interpolation sampled at pixel centres, the border repeated."""
    at = np.clip((np.arange(out) + 0.5) * (size / out) - 0.5, 0, size - 1)
    low = at.astype(np.intp)
    weights = np.zeros((out, size), np.float32)
    weights[np.arange(out), low] = 1 - (at - low)
    weights[np.arange(out), np.minimum(low + 1, size - 1)] += at - low
    return weights
