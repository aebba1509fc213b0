"""How sure a difference of two mAPs is: a paired bootstrap over the validation pictures (Efron & Tibshirani 1993)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from secateur.matches import Matches
from secateur.results import Change

DRAWS = 1000

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

RECALLS = np.linspace(0, 1, 101)  # COCO's 101 points
_SPACING = np.diff(RECALLS)
_AREAS = np.append(0, np.cumsum((np.append(0, _SPACING) + np.append(_SPACING, 0)) / 2))
"""What the first 0, 1, … 101 of the points count in the trapezoid rule."""


def redraws(images: int, draws: int, seed: int) -> Ints:
    """(draws, images): how often each picture comes when as many are drawn with replacement."""
    even = np.full(images, 1 / images)
    return np.random.default_rng(seed).multinomial(images, even, size=draws)


def change(baseline: Floats, candidate: Floats) -> Change:
    """From mAPs (1 + draws,) of the same redraws, the first of all pictures once: the difference as it was measured,
    between the 2.5th and the 97.5th percentile of those of the redraws; a redraw without a figure (NaN) is left out."""
    observed, *redrawn = candidate - baseline
    told = [difference for difference in redrawn if not np.isnan(difference)]
    low, high = np.percentile(told, (2.5, 97.5)) if told else (observed, observed)
    return Change(float(observed), float(low), float(high))


def means(precisions: Floats) -> Floats:
    """(draws,) of (draws, classes): the mean over the classes that have a figure, 0 where none has."""
    known = ~np.isnan(precisions)
    total: Floats = np.where(known, precisions, 0).sum(1) / np.maximum(known.sum(1), 1)
    return total


def average_precisions(matches: Matches, right: NDArray[np.bool_], counts: Ints) -> Floats:
    """AP50-95 (draws, classes) of each class that has objects, as they are numbered, when each picture counts so many
    times; NaN in a redraw without any. `counts` (draws, images), `right` one of the matches'.

    That of Ultralytics: precision's envelope at 101 recalls. A picture that counts twice is as good as the picture and
    its copy.
    """
    ranking = _rank(matches, right)
    return np.array([_average_precisions(ranking, count) for count in counts])


@dataclass(frozen=True)
class _Ranking:
    """The detections by class, the most confident first, and `steps`, where a curve's recall rises: a right detection.

    There is a curve for each IoU threshold and class, and all their steps lie in one row, curve by curve.
    """

    image: Ints  # (detections,)
    objects: Ints  # (classes, images), how many there are
    thresholds: int
    step: Ints  # (steps,) its detection
    label: Ints  # (steps,) its class
    curve: Ints  # (steps,)
    curve_start: Ints  # (steps,) the curve's first step
    label_start: Ints  # (steps,) the class' first detection


def _rank(matches: Matches, right: NDArray[np.bool_]) -> _Ranking:
    known, object_label = np.unique(matches.object_label, return_inverse=True)
    order = np.argsort(-matches.confidence)  # as Ultralytics has it, equal confidences too
    order = order[np.isin(matches.label[order], known)]
    order = order[np.argsort(matches.label[order], kind="stable")]
    labels = np.searchsorted(known, matches.label[order])
    threshold, step = np.nonzero(right[order].T)
    curve = threshold * len(known) + labels[step]
    return _Ranking(
        image=matches.image[order].astype(np.int64),
        objects=_table(object_label, matches.object_image, len(known), matches.images),
        thresholds=right.shape[1],
        step=step,
        label=labels[step],
        curve=curve,
        curve_start=np.searchsorted(curve, curve),
        label_start=np.searchsorted(labels, labels[step]),
    )


def _table(rows: Ints, columns: NDArray[np.int32], height: int, width: int) -> Ints:
    """(height, width): how often each pair comes."""
    return np.bincount(rows * width + columns, minlength=height * width).reshape(height, width)


def _average_precisions(ranking: _Ranking, count: Ints) -> Floats:
    """(classes,)."""
    objects = ranking.objects @ count
    times = count[ranking.image]
    seen, right = _sums(times), _sums(times[ranking.step])
    true = right[1:] - right[ranking.curve_start]
    precision = true / np.maximum(seen[ranking.step + 1] - seen[ranking.label_start], 1)
    recall = true / np.maximum(objects[ranking.label], 1)
    areas = _envelope(precision, ranking.curve) * _widths(recall, ranking.curve_start)
    of_classes = np.bincount(ranking.label, areas, minlength=len(objects))
    return np.where(objects > 0, of_classes / ranking.thresholds, np.nan)


def _sums(values: Ints) -> Ints:
    """(n + 1,): of the first 0, 1, … n values."""
    return np.concatenate(([0], np.cumsum(values)))


def _envelope(precision: Floats, curve: Ints) -> Floats:
    """The best precision from a step on, within its curve."""
    lifted = precision - curve  # a later curve never reaches above an earlier one
    return np.maximum.accumulate(lifted[::-1])[::-1] + curve


def _widths(recall: Floats, curve_start: Ints) -> Floats:
    """What the recalls that each step reaches, and none before it, count: those below its own, as Ultralytics' steps
    are right-open."""
    reached = _AREAS[np.searchsorted(RECALLS, recall)]
    before = np.concatenate(([0.0], reached))[:-1]
    before[curve_start] = 0
    return reached - before
