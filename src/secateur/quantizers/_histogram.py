"""How a tensor's values are spread, kept in a fixed number of bins however many pictures come and however far they
reach; and the range that loses least when it is cut into levels."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Counts = NDArray[np.int64]
    Floats = NDArray[np.float64]

BINS = 16384  # over both signs: at least 4,096 up to the largest value, 16 for each of 256 levels
FIRST_REACH = 2.0**-20
NARROWEST, CANDIDATES = 1 / 8, 64


class Histogram:
    """Counts over [-reach, reach]; where a value lies outside, pairs of bins are merged until it does not."""

    def __init__(self) -> None:
        self.counts: Counts = np.zeros(BINS, np.int64)
        self.reach = FIRST_REACH
        self.low, self.high = np.inf, -np.inf

    def add(self, values: NDArray[Any]) -> None:
        """Counts an array of finite values."""
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        while max(-self.low, self.high) > self.reach:
            self._double()
        scale = np.float32(BINS / 2 / self.reach)
        places = (values.ravel() * scale + np.float32(BINS // 2)).astype(np.int32)
        self.counts += np.bincount(np.minimum(places, BINS - 1), minlength=BINS)

    def _double(self) -> None:
        merged = np.zeros_like(self.counts)
        merged[BINS // 4 : 3 * BINS // 4] = self.counts.reshape(-1, 2).sum(axis=1)
        self.counts, self.reach = merged, self.reach * 2

    def percentile(self, percent: float) -> tuple[float, float]:
        """(low, high) between which so many percent of all values lie, as many left out on either side."""
        outside = (1 - percent / 100) / 2
        shares = np.cumsum(self.counts) / self.counts.sum()
        first, last = np.searchsorted(shares, [outside, 1 - outside])
        return self._within(self._edge(int(first)), self._edge(int(last) + 1))

    def entropy(self, levels: int) -> tuple[float, float]:
        """(low, high) whose cut into `levels` keeps the most of how the values are spread: the smallest
        Kullback-Leibler divergence of a few widths (Migacz, 8-bit inference with TensorRT, 2017)."""
        widest = max(-self.low, self.high)
        widths = widest * np.geomspace(NARROWEST, 1, CANDIDATES)
        ranges = [self._within(-width, width) for width in widths]
        return min(
            (low_high for low_high in ranges if low_high[0] <= low_high[1]), key=partial(self._divergence, levels)
        )

    def _divergence(self, levels: int, bounds: tuple[float, float]) -> float:
        """Of the spread with all that lies outside moved to the bounds, to the same spread within each level."""
        start, stop = self._bin(bounds[0]), self._bin(bounds[1]) + 1
        kept = self.counts[start:stop].astype(np.float64)
        clipped = kept.copy()
        clipped[0] += self.counts[:start].sum()
        clipped[-1] += self.counts[stop:].sum()
        level = np.arange(len(kept)) * levels // len(kept)
        filled = clipped > 0
        sums, bins = np.bincount(level, kept, levels), np.bincount(level, filled, levels)
        spread = np.where(filled, sums[level] / np.maximum(bins[level], 1), 0)
        return _kullback_leibler(clipped[filled], spread[filled])

    def _bin(self, value: float) -> int:
        return min(int(value * BINS / 2 / self.reach) + BINS // 2, BINS - 1)

    def _edge(self, place: int) -> float:
        return (place / (BINS / 2) - 1) * self.reach

    def _within(self, low: float, high: float) -> tuple[float, float]:
        """No further than the values go."""
        return max(low, self.low), min(high, self.high)


def _kullback_leibler(wanted: Floats, given: Floats) -> float:
    given = np.maximum(given, 1e-9 * wanted.sum())  # a level that is empty but for what was clipped
    p, q = wanted / wanted.sum(), given / given.sum()
    return float((p * np.log(p / q)).sum())
