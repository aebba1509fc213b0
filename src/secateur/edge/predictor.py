"""An opened model file that looks at pictures: numpy, and whatever runtime opened it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.edge.decode import Choice, decode
from secateur.edge.letterbox import fit, place_in
from secateur.edge.masks import masks
from secateur.errors import ExportError, SpecError, StageError
from secateur.intake import answers, literal
from secateur.plugins import unknown

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from secateur.edge.letterbox import Pixels, Placement
    from secateur.ports import Image, Runtime, Session

TASKS = ("detect", "segment")


@dataclass(frozen=True)
class Detections:
    """What a net found in one picture, in the picture's own pixels, the surest first."""

    boxes: NDArray[np.float32]  # (n, 4), x1 y1 x2 y2
    scores: NDArray[np.float32]  # (n,)
    labels: NDArray[np.int32]  # (n,)
    masks: NDArray[np.bool_] | None  # (n, height, width); None of a detector

    def __len__(self) -> int:
        return len(self.scores)


class Predictor:
    """Finds what Ultralytics' predictor finds with `retina_masks`.

    `names` takes the place of what the file says of its classes; where neither does, they are numbered. `classes` are
    the wanted ones, by name or number, none: all.
    """

    def __init__(
        self,
        session: Session,
        names: Sequence[str] | None = None,
        confidence: float = 0.25,
        iou: float = 0.7,
        max_det: int = 300,
        classes: Sequence[str | int] = (),
        multi_label: bool = False,
    ) -> None:
        self._session = session
        self.names = tuple(names) if names is not None else names_of(session.metadata)
        self.choice = Choice(confidence, iou, max_det, _labels(classes, self.names), multi_label)
        self._batch, _, self._rows, self._columns = session.input_shape
        _check_task(session.metadata)

    def name(self, label: int) -> str:
        """A class', or its number where no names are known."""
        return self.names[label] if self.names else str(label)

    def __call__(self, pixels: Pixels) -> Detections:
        """Of a picture (height, width, 3), RGB."""
        image, placement = self.preprocess(pixels)
        return self.postprocess(self.run(image), placement, pixels.shape[0], pixels.shape[1])

    def preprocess(self, pixels: Pixels) -> tuple[Image, Placement]:
        """The picture as the net takes it, and where it lies in that; raises StageError where it has no pixels."""
        if 0 in pixels.shape:
            raise StageError(f"a picture of {pixels.shape[1]} x {pixels.shape[0]} pixels has nothing to look at")
        placement = place_in(pixels.shape[0], pixels.shape[1], self._rows, self._columns)
        return fit(pixels, placement, self._rows, self._columns), placement

    def run(self, image: Image) -> Sequence[NDArray[Any]]:
        """The raw outputs for this picture, whatever number the file takes at once."""
        return self._session.run(image) if self._batch == 1 else next(answers(self._session, [image]))

    def postprocess(self, outputs: Sequence[NDArray[Any]], placement: Placement, height: int, width: int) -> Detections:
        """What the raw outputs say of a picture of that size."""
        found, prototypes = decode(outputs, len(self.names) or None, self.choice)
        boxes = _in_the_picture(found.boxes, placement, height, width)
        if prototypes is None:
            return Detections(boxes, found.scores, found.labels, None)
        inside, seen = masks(prototypes, found.coefficients, boxes, height, width)
        return Detections(boxes[seen], found.scores[seen], found.labels[seen], inside)


def open_predictor(model: Path, runtime: Runtime, **settings: Any) -> Predictor:
    """Opens a model file; raises ExportError where it cannot be run, or is of no net that is known here."""
    return Predictor(runtime.open(model), **settings)


def names_of(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The classes' names, () where the file does not say; raises ExportError where what it says is no list."""
    said = metadata.get("names")
    if said is None:
        return ()
    names = literal(said)
    try:
        return tuple(str(names[at]) for at in range(len(names)))
    except (TypeError, KeyError) as error:
        raise ExportError(f"the model's metadata has no list of names, but {said[:60]!r}; export it anew") from error


def _labels(classes: Sequence[str | int], names: Sequence[str]) -> tuple[int, ...]:
    """Each class' number; raises SpecError where the net knows none of that name."""
    return tuple(_number(str(name), names) for name in classes)


def _number(name: str, names: Sequence[str]) -> int:
    if name in names:
        return names.index(name)
    if name.isdecimal() and (not names or int(name) < len(names)):
        return int(name)
    raise SpecError(unknown("class", name, list(names)))


def _check_task(metadata: Mapping[str, str]) -> None:
    task = metadata.get("task", TASKS[0])
    if task not in TASKS:
        raise ExportError(f"the model's task is {task!r}; pictures can be predicted for {' and '.join(TASKS)}")


def _in_the_picture(boxes: NDArray[np.float32], at: Placement, height: int, width: int) -> NDArray[np.float32]:
    """Boxes of the net's input as boxes of the picture, cut at its edges."""
    start = np.array([at.left, at.top] * 2, np.float32)
    gain = np.array([at.width / width, at.height / height] * 2, np.float32)
    edge = np.array([width, height] * 2, np.float32)
    inside: NDArray[np.float32] = np.clip((boxes - start) / gain, 0, edge)
    return inside
