"""What a model file takes: the shape of its input, and so many pictures at once.

Whoever runs pictures through a file goes through `answers`, and need not know how many it takes at a time.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from secateur.ports import Image, Session

USUAL_IMGSZ = 640


def shape_of(sides: Sequence[int | str | None], metadata: Mapping[str, str]) -> tuple[int, ...]:
    """Of a file's input: a side that it leaves open is what its metadata says it was exported for, or as usual."""
    meant = (literal(metadata.get("batch")), 3, *_size(literal(metadata.get("imgsz"))))
    usual = (1, 3, USUAL_IMGSZ, USUAL_IMGSZ)
    told = (first if isinstance(first, int) else second for first, second in zip(meant, usual, strict=True))
    return tuple(side if isinstance(side, int) else other for side, other in zip(sides, told, strict=False))


def _size(imgsz: Any) -> tuple[Any, Any]:
    """Height and width of what the metadata says; Nones where that is neither a number nor two."""
    if isinstance(imgsz, int):
        return imgsz, imgsz
    return (imgsz[0], imgsz[1]) if isinstance(imgsz, list | tuple) and len(imgsz) == 2 else (None, None)


def literal(text: str | None) -> Any:
    """Ultralytics writes its metadata as Python has it; None where that is not so."""
    try:
        return None if text is None else ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None


def stacked(pictures: Iterable[Image], batch: int) -> Iterator[tuple[Image, int]]:
    """(batch, 3, height, width) each, and how many of them count: the last stack is filled up with its last picture."""
    source = iter(pictures)
    while chosen := list(islice(source, batch)):
        filled = chosen + chosen[-1:] * (batch - len(chosen))
        yield np.concatenate(filled), len(chosen)


def answers(session: Session, pictures: Iterable[Image]) -> Iterator[tuple[NDArray[Any], ...]]:
    """What it gives for each picture, (1, …), as if it took one at a time."""
    batch = session.input_shape[0]
    for stack, count in stacked(pictures, batch):
        outputs = [_taken_apart(output, batch) for output in session.run(stack)]
        yield from islice(zip(*outputs, strict=True), count)


def _taken_apart(output: NDArray[Any], batch: int) -> Sequence[NDArray[Any]]:
    """Each picture's part; all of it where it is the same for all."""
    shared = output.ndim == 0 or len(output) % batch
    return [output] * batch if shared else np.split(output, batch)
