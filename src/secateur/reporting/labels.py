"""Where the labels of a chart go: beside their marks, and on nothing else. Boxes are in pixels, y grows downwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, hypot

Size = tuple[float, float]
"""Width and height."""

GAPS = 4, 11, 18
"""From a mark to its label, the first that has room."""

SLACK = 8
"""A label may be nearer to another mark than to its own by no more."""

SHARES = 0.5, 0.25, 0.75, 0, 1
"""What of a label above or below its mark is left of the mark's middle."""

HALO = 2
"""A label keeps so far from all else: what is drawn around its letters hides nothing."""

STRETCH = 4
"""A slanting line is taken as boxes of which one side is no longer."""


@dataclass(frozen=True)
class Box:
    """A rectangle, or a line where two of its sides are one."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        """Whether they share more than a border."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )

    def is_within(self, other: Box) -> bool:
        """Whether nothing of it is outside."""
        return (
            other.left <= self.left
            and self.right <= other.right
            and other.top <= self.top
            and self.bottom <= other.bottom
        )

    def holds(self, x: float, y: float) -> bool:
        """Whether that point is in it."""
        return self.left <= x <= self.right and self.top <= y <= self.bottom

    def distance(self, other: Box) -> float:
        """From border to border, 0 where they overlap."""
        across = max(0, other.left - self.right, self.left - other.right)
        return hypot(across, max(0, other.top - self.bottom, self.top - other.bottom))

    def grown(self, by: float) -> Box:
        """With so much more on each side."""
        return Box(self.left - by, self.top - by, self.right + by, self.bottom + by)


def placed(
    wanted: Sequence[Sequence[Box]], taken: Sequence[Box], crossed: Sequence[Box], room: Box
) -> list[Box | None]:
    """Of each label the first of its places that is free, None where none is; who comes first chooses first.

    A place is free where it lies in `room`, on nothing that is `taken` and on no label; one that is on nothing that may
    be `crossed` is preferred.
    """
    full, found = list(taken), list[Box | None]()
    for places in wanted:
        free = [place for place in places if place.is_within(room) and _is_free(place, full)]
        best = next((place for place in free if _is_free(place, crossed)), free[0] if free else None)
        found.append(best)
        if best:
            full.append(best)
    return found


def beside(mark: Box, marks: Sequence[Box], whiskers: Sequence[Box], size: Size) -> list[Box]:
    """Places of a label around a mark: at its sides, askew, above and below it, then the same further away; then above
    and below its whiskers. None is so near to another of the marks that the label would pass for that one's."""
    top, bottom = min(box.top for box in (mark, *whiskers)), max(box.bottom for box in (mark, *whiskers))
    tall = Box(mark.left, top, mark.right, bottom)
    near = [place for gap in GAPS for place in _around(mark, mark.grown(gap), size)]
    found = [*near, *_around(mark, tall.grown(GAPS[0]), size)]
    return [place for place in found if all(mark.distance(place) <= place.distance(box) + SLACK for box in marks)]


def along(y: float, room: Box, size: Size) -> list[Box]:
    """Places of the label of a level line that goes through the room: at its ends, then on the way, from right to
    left; below it and above."""
    width, height = size
    ends = [room.right - width, room.left]
    steps = max(1, ceil((room.right - room.left - width) / (2 * height)))
    way = [room.right - width - step * (room.right - room.left - width) / steps for step in range(1, steps)]
    tops = (y + HALO, y - HALO - height)
    return [Box(left, top, left + width, top + height) for left in (*ends, *way) for top in tops]


def boxes(path: Sequence[tuple[float, float]]) -> list[Box]:
    """What a line through these points takes."""
    return [box for start, end in pairwise(path) for box in _stretches(*start, *end)]


def _is_free(place: Box, full: Sequence[Box]) -> bool:
    grown = place.grown(HALO)
    return not any(grown.overlaps(other) for other in full)


def _around(mark: Box, edge: Box, size: Size) -> Iterator[Box]:
    """`edge` is as far from the mark as the label is to be."""
    width, height = size
    middle_x, middle_y = (mark.left + mark.right) / 2, (mark.top + mark.bottom - height) / 2
    right, left = edge.right, edge.left - width
    beside = [(right, middle_y), (left, middle_y)]
    askew = [(x, y) for x in (right, left) for y in (mark.top - height, mark.bottom)]
    level = [(middle_x - share * width, y) for share in SHARES for y in (edge.top - height, edge.bottom)]
    for x, y in [*beside, *askew, *level]:
        yield Box(x, y, x + width, y + height)


def _stretches(x: float, y: float, to_x: float, to_y: float) -> Iterator[Box]:
    number = max(1, ceil(min(abs(to_x - x), abs(to_y - y)) / STRETCH))
    stops = [(x + (to_x - x) * n / number, y + (to_y - y) * n / number) for n in range(number + 1)]
    for (x0, y0), (x1, y1) in pairwise(stops):
        yield Box(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
