"""Pictures as the net wants them: fitted into a grey square exactly as Ultralytics' LetterBox does it, without cv2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from secateur.errors import StageError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from secateur.ports import Image

    Pixels = NDArray[np.uint8]  # (height, width, 3), RGB
    Floats = NDArray[np.float32]

GREY = 114


@dataclass(frozen=True)
class Placement:
    """Where the scaled picture lies in the square, px."""

    top: int
    left: int
    height: int
    width: int


def read_picture(path: Path) -> Pixels:
    """(height, width, 3), RGB, turned upright as its EXIF data says; raises StageError where it does not decode."""
    from PIL import Image as Pictures
    from PIL import ImageOps

    try:
        with Pictures.open(path) as picture:
            return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    # Pillow raises SyntaxError for some broken PNGs; Ultralytics, where it is loaded, makes `open` look for a plugin
    except (OSError, SyntaxError, ValueError, ImportError) as error:
        raise StageError(f"cannot read the picture {path} ({error}); mend it or leave it out") from error


def place(height: int, width: int, imgsz: int) -> Placement:
    """The largest centred place of a picture in a square of `imgsz`; an odd pixel of padding goes below or right."""
    return place_in(height, width, imgsz, imgsz)


def place_in(height: int, width: int, rows: int, columns: int) -> Placement:
    """The same in a rectangle."""
    scale = min(rows / height, columns / width)
    inner_height, inner_width = max(round(height * scale), 1), max(round(width * scale), 1)
    return Placement(
        top=(rows - inner_height) // 2, left=(columns - inner_width) // 2, height=inner_height, width=inner_width
    )


def letterbox(pixels: Pixels, imgsz: int) -> Image:
    """(1, 3, imgsz, imgsz), RGB, 0–1."""
    return fit(pixels, place(pixels.shape[0], pixels.shape[1], imgsz), imgsz, imgsz)


def fit(pixels: Pixels, at: Placement, rows: int, columns: int) -> Image:
    """(1, 3, rows, columns), RGB, 0–1: the picture scaled to its place, grey around it."""
    whole = np.full((rows, columns, 3), GREY, np.float32)
    whole[at.top : at.top + at.height, at.left : at.left + at.width] = resize(pixels, at.height, at.width)
    return np.ascontiguousarray(whole.transpose(2, 0, 1)[None] / np.float32(255))


def resize(pixels: Pixels, height: int, width: int) -> Floats:
    """Bilinear without antialiasing, as cv2's INTER_LINEAR; (height, width, 3), whole numbers 0–255."""
    return np.rint(_interpolate(_interpolate(pixels, height, axis=0), width, axis=1))


def _interpolate(values: NDArray[np.generic], size: int, axis: int) -> Floats:
    """Linear along one axis, sampled at pixel centres, the border repeated."""
    length = values.shape[axis]
    at = np.clip((np.arange(size) + 0.5) * (length / size) - 0.5, 0, length - 1)
    low = at.astype(np.intp)
    high = np.minimum(low + 1, length - 1)
    weight: Floats = np.expand_dims((at - low).astype(np.float32), tuple({0, 1, 2} - {axis}))
    first: Floats = values.take(low, axis).astype(np.float32)
    second: Floats = values.take(high, axis).astype(np.float32)
    between: Floats = first + (second - first) * weight
    return between
