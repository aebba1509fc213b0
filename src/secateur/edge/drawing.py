"""Detections drawn into their picture: half-transparent masks, boxes, names and scores."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

    from secateur.edge.letterbox import Pixels
    from secateur.edge.predictor import Detections

    Colour = tuple[int, int, int]

OPACITY = 0.45
TURN = 0.381966  # of the circle of hues, the golden angle: neighbours differ, and none comes again soon
LIGHTNESS = (0.58, 0.42, 0.68)  # of one class and the next: hues that are near differ in it
DARK, LIGHT = (20, 20, 20), (255, 255, 255)


def draw(pixels: Pixels, detections: Detections, name: Callable[[int], str]) -> Pixels:
    """A copy of (height, width, 3), RGB, with the surest detection on top."""
    from PIL import Image, ImageDraw

    blended = pixels.copy()
    order = range(len(detections) - 1, -1, -1)
    for at in order:
        if detections.masks is not None:
            _blend(blended, detections.masks[at], colour(int(detections.labels[at])))
    picture = Image.fromarray(blended)
    pen = ImageDraw.Draw(picture)
    line = max(round(sum(pixels.shape[:2]) / 640), 1)
    for at in order:
        label = int(detections.labels[at])
        left, top, right, bottom = (round(float(side)) for side in detections.boxes[at])
        right, bottom = max(right - 1, left), max(bottom - 1, top)
        _frame(pen, (left, top, right, bottom), colour(label), line)
        _tag(pen, f"{name(label)} {detections.scores[at]:.2f}", (left, top), colour(label), line)
    return np.asarray(picture)


def colour(label: int) -> Colour:
    """That of a class; (red, green, blue), 0–255."""
    red, green, blue = colorsys.hls_to_rgb(label * TURN % 1, LIGHTNESS[label % len(LIGHTNESS)], 0.9)
    return round(red * 255), round(green * 255), round(blue * 255)


def _blend(pixels: Pixels, mask: NDArray[np.bool_], paint: Colour) -> None:
    """In place, within the mask."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    inside = mask[box]
    mixed = pixels[box][inside] * (1 - OPACITY) + np.array(paint) * OPACITY
    pixels[box][inside] = mixed.round().astype(np.uint8)
    pixels[box][_outline(inside)] = paint  # tells two of a class that touch from each other


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Those of its pixels that have one outside it beside them."""
    around = np.pad(mask, 1)
    within = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return mask & ~within


def _frame(pen: ImageDraw, box: tuple[int, int, int, int], paint: Colour, line: int) -> None:
    """A line of the colour between two dark ones, which show where the picture is of that colour itself."""
    left, top, right, bottom = box
    pen.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=DARK, width=line + 2)
    pen.rectangle(box, outline=paint, width=line)


def _tag(pen: ImageDraw, text: str, corner: tuple[int, int], paint: Colour, line: int) -> None:
    """Above the box where there is room, else within; never outside the picture."""
    font = _font(8 + 3 * line)
    left, top, right, bottom = (round(side) for side in pen.textbbox((0, 0), text, font=font))
    pad = line + 1
    width, height = right - left + 2 * pad, bottom - top + 2 * pad
    picture_width, picture_height = pen.im.size
    x = max(min(corner[0], picture_width - width), 0)
    y = corner[1] - height if corner[1] >= height else min(corner[1], max(picture_height - height, 0))
    pen.rectangle((x, y, x + width - 1, y + height - 1), fill=paint, outline=DARK)
    pen.text((x + pad - left, y + pad - top), text, fill=_readable_on(paint), font=font)


def _readable_on(paint: Colour) -> Colour:
    red, green, blue = paint
    return DARK if 0.299 * red + 0.587 * green + 0.114 * blue > 120 else LIGHT


def _font(size: int) -> FreeTypeFont | ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(size)
