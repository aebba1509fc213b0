"""Detections as plain values: what `--json` writes, masks as COCO's run lengths."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

import msgspec
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from secateur.edge.predictor import Detections


class JsonArray:
    """Writes one value a line, as they come, into a JSON array that is whole also where it is broken off."""

    def __init__(self, file: IO[str]) -> None:
        self._file, self._between = file, "[\n"

    def __enter__(self) -> JsonArray:
        return self

    def write(self, value: object) -> None:
        """Appends an element, of any type that msgspec encodes."""
        self._file.write(self._between + msgspec.json.encode(value).decode())
        self._between = ",\n"

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.write("[]\n" if self._between == "[\n" else "\n]\n")


def entries(detections: Detections, name: Callable[[int], str]) -> list[dict[str, Any]]:
    """One a detection, the surest first; `mask` is missing of a detector."""
    found = []
    for at, label in enumerate(detections.labels.tolist()):
        entry = {
            "label": label,
            "name": name(label),
            "score": round(float(detections.scores[at]), 5),
            "box": [round(float(side), 2) for side in detections.boxes[at]],
        }
        if detections.masks is not None:
            entry["mask"] = run_lengths(detections.masks[at])
        found.append(entry)
    return found


def run_lengths(mask: NDArray[np.bool_]) -> dict[str, list[int]]:
    """COCO's uncompressed RLE: lengths of runs down the columns, in turns without and with the mask."""
    flat = np.concatenate([[False], mask.T.ravel()])
    turns = np.flatnonzero(flat[1:] != flat[:-1])
    return {"size": list(mask.shape), "counts": np.diff([0, *turns.tolist(), mask.size]).tolist()}
