"""Pictures as the net wants them: fitted into a grey square exactly as Ultralytics' LetterBox does it, without cv2."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.errors import StageError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL.Image import Image as Picture

    from secateur.ports import Image

    Pixels = NDArray[np.uint8]  # (height, width, 3), RGB
    Floats = NDArray[np.float32]

GREY = 114
BAND = 16  # rows


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

    try:
        with Pictures.open(path) as picture:
            return _rgb(picture)
    # Pillow raises SyntaxError for some broken PNGs; Ultralytics, where it is loaded, makes `open` look for a plugin
    except (OSError, SyntaxError, ValueError, ImportError, Pictures.DecompressionBombError) as error:
        raise StageError(f"cannot read the picture {path} ({error}); mend it or leave it out") from error


def _rgb(picture: Picture) -> Pixels:
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(picture)
    if upright.mode.startswith("I"):  # Pillow cuts 16 bits at 255 instead of scaling them
        grey = (np.asarray(upright) >> 8).clip(0, 255).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    return np.asarray(upright.convert("RGB"))


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
    image = np.full((1, 3, rows, columns), np.float32(GREY) / np.float32(255), np.float32)
    inside = image[0, :, at.top : at.top + at.height, at.left : at.left + at.width]
    for band, scaled in _bands(pixels, at.height, at.width):
        np.divide(scaled.transpose(2, 0, 1), np.float32(255), out=inside[:, band])
    return image


def resize(pixels: Pixels, height: int, width: int) -> Floats:
    """Bilinear without antialiasing, as cv2's INTER_LINEAR; (height, width, 3), whole numbers 0–255."""
    scaled = np.empty((height, width, 3), np.float32)
    for band, values in _bands(pixels, height, width):
        scaled[band] = values
    return scaled


@dataclass(frozen=True)
class Sampling:
    """Which numbers along one axis each new one lies between, and how near it is to the second."""

    low: NDArray[np.intp]
    high: NDArray[np.intp]
    weights: Floats

    def part(self, band: slice) -> Sampling:
        """The same for a run of the new numbers, as where a picture is made band by band."""
        return Sampling(self.low[band], self.high[band], self.weights[band])

    def by_colour(self) -> Sampling:
        """For rows whose pixels are three numbers each."""
        low, high = ((at[:, None] * 3 + np.arange(3)).ravel() for at in (self.low, self.high))
        return Sampling(low, high, np.repeat(self.weights, 3))

    def down(self, rows: NDArray[Any]) -> NDArray[Any]:
        """(n, columns) between rows of (rows, columns)."""
        return _between(rows, self, 0, self.weights[:, None])

    def across(self, rows: NDArray[Any]) -> NDArray[Any]:
        """(rows, n) between columns of (rows, columns)."""
        return _between(rows, self, 1, self.weights)


def _bands(pixels: Pixels, height: int, width: int) -> Iterator[tuple[slice, NDArray[Any]]]:
    """The scaled picture, a few rows at a time: what is computed of them stays in the processor's cache."""
    flat = pixels.reshape(pixels.shape[0], -1)
    down, across = _sampling(pixels.shape[0], height), _sampling(pixels.shape[1], width).by_colour()
    for start in range(0, height, BAND):
        band = slice(start, min(start + BAND, height))
        rows = flat[band] if height == len(flat) else down.part(band).down(flat)
        rows = rows if width == pixels.shape[1] else across.across(rows)
        if rows.dtype == np.float32:
            np.rint(rows, out=rows)
        yield band, rows.reshape(-1, width, 3)


def _sampling(length: int, size: int) -> Sampling:
    """At pixel centres, the border repeated."""
    at = np.clip((np.arange(size) + 0.5) * (length / size) - 0.5, 0, length - 1)
    low = at.astype(np.intp)
    return Sampling(low, np.minimum(low + 1, length - 1), (at - low).astype(np.float32))


def _between(values: NDArray[Any], at: Sampling, axis: int, weights: Floats) -> NDArray[Any]:
    """Linear along one axis, each step rounded to single precision; as they are where none lies between two."""
    low = values.take(at.low, axis)
    if not weights.any():
        return low
    low = low.astype(np.float32, copy=False)
    between = values.take(at.high, axis).astype(np.float32, copy=False)
    between -= low
    between *= weights
    between += low
    return between
