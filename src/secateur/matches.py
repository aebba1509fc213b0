"""What a net found in each validation picture, and what of it is right: all that its mAP is computed from."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateur.results import Accuracy


@dataclass(frozen=True)
class Matches:
    """Detections and labelled objects of `images` pictures, which are numbered in the data set's order.

    `box` and `mask` say whether a detection is right at IoU 0.50, 0.55, … 0.95; `mask` is None for a detector.
    """

    images: int
    image: NDArray[np.int32]  # (detections,)
    confidence: NDArray[np.floating[Any]]  # (detections,)
    label: NDArray[np.int32]  # (detections,)
    box: NDArray[np.bool_]  # (detections, 10)
    mask: NDArray[np.bool_] | None  # (detections, 10)
    object_image: NDArray[np.int32]  # (objects,)
    object_label: NDArray[np.int32]  # (objects,)

    def write(self, path: Path) -> None:
        """One compressed .npz; the same matches give the same bytes."""
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        with path.open("wb") as file:
            np.savez_compressed(file, **{name: value for name, value in values.items() if value is not None})

    def same_objects(self, other: Matches) -> bool:
        """Whether both are of the same labelled pictures, in the same order; a picture's own objects may be in any."""
        return self.images == other.images and np.array_equal(self._objects(), other._objects())

    def _objects(self) -> NDArray[np.int32]:
        """(2, objects), sorted."""
        objects = np.stack([self.object_label, self.object_image])
        return objects[:, np.lexsort(objects)]


def read(path: Path) -> Matches:
    """What `Matches.write` wrote."""
    with np.load(path) as found:
        values: dict[str, Any] = dict(found)
    return Matches(**{"mask": None, **values, "images": int(values["images"])})


@dataclass(frozen=True)
class Evaluation:
    """A score, and what it was computed from."""

    accuracy: Accuracy
    matches: Matches
