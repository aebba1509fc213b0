"""Pictures of overlapping shapes, drawn by code: no download, the same bits from the same seed."""

from __future__ import annotations

import colorsys
import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.random import Generator
    from numpy.typing import NDArray

    from secateur.ports import Downloads

    Floats = NDArray[np.float64]

VERSION = 1  # raise when the pictures drawn from the same fields change
NAMES = ("circle", "box", "triangle", "star", "cross")
SUPERSAMPLE = 4  # outlines are filled on a grid this much finer, then averaged
TRIES = 20  # places tried for an object before it is left out


@dataclass(frozen=True)
class Shapes:
    """Sizes are shares of the picture's side, measured as the diameter of the circle around an object."""

    train: int = 768
    val: int = 128
    size: int = 128  # px, square
    objects: int = 4  # most per picture; the fewest is 1
    smallest: float = 0.25
    largest: float = 0.6
    visible: float = 0.7  # least share of an object that others leave uncovered
    noise: float = 0.04  # most standard deviation of the noise, of full white
    seed: int = 0
    unlabelled: str | None = None

    def __post_init__(self) -> None:
        for name in ("train", "val", "objects"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.size < 32 or self.size % 32:
            raise ValueError(f"size must be a multiple of 32, got {self.size}")
        if not 0 < self.smallest <= self.largest <= 1:
            raise ValueError(f"0 < smallest <= largest <= 1 must hold, got {self.smallest} and {self.largest}")
        if not 0 < self.visible <= 1:
            raise ValueError(f"visible must be in (0, 1], got {self.visible}")
        if not 0 <= self.noise < 1:
            raise ValueError(f"noise must be in [0, 1), got {self.noise}")
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, got {self.seed}")

    def digest(self, downloads: Downloads) -> str:
        """SHA-256 of the name, the version and the fields, which is all that the pictures depend on."""
        drawn = {name: value for name, value in asdict(self).items() if name != "unlabelled"}
        text = json.dumps(["shapes", VERSION, drawn], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def write(self, out: Path, downloads: Downloads) -> None:
        """`data.yaml`, `images/{train,val}/*.png` and `labels/{train,val}/*.txt` (YOLO polygons) below `out`."""
        for split, count in (("train", self.train), ("val", self.val)):
            for folder in ("images", "labels"):
                (out / folder / split).mkdir(parents=True, exist_ok=True)
            for index in range(count):
                picture, labels = draw(self, split, index)
                picture.save(out / "images" / split / f"{index:06}.png", compress_level=1)
                (out / "labels" / split / f"{index:06}.txt").write_text("".join(labels))
        names = "".join(f"  {number}: {name}\n" for number, name in enumerate(NAMES))
        (out / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames:\n{names}")


@dataclass(frozen=True)
class Shape:
    """One object: its class and its closed outline, (corners, 2) as x, y in shares of the side."""

    kind: int
    outline: Floats

    @property
    def label(self) -> str:
        """Its line in a label file: the class and the corners, five decimals each, and the line's end."""
        return " ".join([str(self.kind), *(f"{value:.5f}" for value in self.outline.ravel())]) + "\n"

    @property
    def area(self) -> float:
        """Share of the picture's, whatever else covers it."""
        x, y = self.outline.T
        return float(abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2)

    def moved(self, by: Floats) -> Shape:
        """`by` is (2,), x and y in shares of the side."""
        return Shape(self.kind, self.outline + by)

    def cover(self, size: int) -> Floats:
        """(size, size), the share of each pixel inside the outline."""
        fine = Image.new("L", (size * SUPERSAMPLE,) * 2)
        ImageDraw.Draw(fine).polygon([tuple(point) for point in self.outline * fine.width], fill=255)
        return np.asarray(fine.reduce(SUPERSAMPLE), dtype=np.float64) / 255


def draw(spec: Shapes, split: str, index: int) -> tuple[Image.Image, list[str]]:
    """One picture and its label lines."""
    rng = np.random.default_rng([spec.seed, ("train", "val").index(split), index])
    placed = arrange(spec, rng)
    hue = rng.uniform()
    canvas = texture(rng, spec.size, hue + 0.5, saturation=rng.uniform(0.05, 0.35))
    for number, (_, cover) in enumerate(placed):
        paint = texture(rng, spec.size, hue + 0.31 * number, saturation=rng.uniform(0.5, 0.95))
        canvas += cover[..., None] * (paint - canvas)
    lit = canvas * light(rng, spec.size) + rng.normal(0, rng.uniform(0, spec.noise), canvas.shape)
    return Image.fromarray((lit.clip(0, 1) * 255).round().astype(np.uint8)), [shape.label for shape, _ in placed]


def arrange(spec: Shapes, rng: Generator) -> list[tuple[Shape, Floats]]:
    """Objects with their covers, from the lowest to the topmost."""
    wanted = [sample(spec, rng) for _ in range(rng.integers(1, spec.objects, endpoint=True))]
    placed: list[tuple[Shape, Floats]] = []
    # the smaller lies on top, as Ultralytics' overlap_mask has it: so whole outlines say what can be seen
    for shape in sorted(wanted, key=lambda shape: -shape.area):
        place(shape, placed, spec, rng)
    return placed


def place(shape: Shape, placed: list[tuple[Shape, Floats]], spec: Shapes, rng: Generator) -> None:
    """Appends the shape to `placed` where it hides too much of no other, or leaves it out."""
    low, high = -shape.outline.min(axis=0), 1 - shape.outline.max(axis=0)
    for _ in range(TRIES):
        tried = shape.moved(rng.uniform(low, high))
        covers = [cover for _, cover in placed] + [tried.cover(spec.size)]
        if all(share >= spec.visible for share in visible_shares(covers)):
            placed.append((tried, covers[-1]))
            return


def visible_shares(covers: list[Floats]) -> list[float]:
    """Of each cover, the share that those after it leave free."""
    free, shares = np.ones_like(covers[0]), []
    for cover in reversed(covers):
        shares.append(float((cover * free).sum() / cover.sum()))
        free = free * (1 - cover)
    return shares[::-1]


def sample(spec: Shapes, rng: Generator) -> Shape:
    """A shape of random class, size, proportions and angle around the origin."""
    kind, angle = int(rng.integers(len(NAMES))), rng.uniform(0, 2 * np.pi)
    radius = rng.uniform(spec.smallest, spec.largest) / 2
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return Shape(kind, radius * (unit_outline(NAMES[kind], rng) @ turn))


def unit_outline(name: str, rng: Generator) -> Floats:
    """(corners, 2) on or inside the unit circle."""
    if name == "box":
        half = rng.uniform(0.5, 1.0)  # height to width
        return turned(np.array([[1, half], [-1, half]]) / np.hypot(1, half), 2)
    if name == "cross":
        arm = rng.uniform(0.25, 0.4)  # half its width to its length
        return turned(np.array([[1, -arm], [1, arm], [arm, arm]]) / np.hypot(1, arm), 4)
    if name == "star":
        inner = rng.uniform(0.4, 0.55) * np.array([np.cos(np.pi / 5), np.sin(np.pi / 5)])
        return turned(np.array([[1, 0], inner]), 5)
    return turned(np.array([[1, 0]]), {"triangle": 3, "circle": 48}[name])


def turned(corners: Floats, times: int) -> Floats:
    """(times * corners, 2), the corners repeated around the origin."""
    angles = np.arange(times)[:, None] * 2 * np.pi / times
    x, y = corners.T
    along, across = x * np.cos(angles) - y * np.sin(angles), x * np.sin(angles) + y * np.cos(angles)
    return np.stack([along, across], axis=-1).reshape(-1, 2)


def texture(rng: Generator, size: int, hue: float, saturation: float) -> Floats:
    """(size, size, 3), a gradient between two shades of a colour under soft stripes."""
    dark, bright = rng.uniform(0.35, 0.6), rng.uniform(0.65, 0.95)
    shades = [colorsys.hsv_to_rgb(hue % 1, saturation, value) for value in (dark, bright)]
    stripes = np.sin(ramp(rng, size) * rng.uniform(10, 60)) * rng.uniform(0, 0.12)
    mix = (ramp(rng, size) + stripes)[..., None]
    return np.asarray((1 - mix) * shades[0] + mix * shades[1])


def light(rng: Generator, size: int) -> Floats:
    """(size, size, 1), brightness that falls off towards one side."""
    return rng.uniform(0.7, 1.15) * (1 - rng.uniform(0, 0.4) * ramp(rng, size)[..., None])


def ramp(rng: Generator, size: int) -> Floats:
    """(size, size), rising from 0 to 1 across the picture in a random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:size, :size] / size - 0.5
    slope = x * np.cos(angle) + y * np.sin(angle)
    return np.asarray((slope - slope.min()) / np.ptp(slope))
