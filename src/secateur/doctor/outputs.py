"""Whether what a file gives is of any use at all: numbers, and not the same ones everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.examination import Finding, OutputCheck
from secateur.intake import answers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from secateur.ports import Image, Session

COORDINATES = 4  # of a box, before its class scores


def look(session: Session, classes: int | None, pictures: Iterable[Image]) -> tuple[OutputCheck, ...]:
    """Each output on all the pictures; how many classes there are says which numbers of a box are scores."""
    each = zip(*answers(session, pictures), strict=True)
    return tuple(_check(f"output{at}", np.stack(values), classes) for at, values in enumerate(each))


def first_fault(outputs: Sequence[OutputCheck]) -> str | None:
    """One line; None where all are fine."""
    return next((f"{output.name} {output.fault}" for output in outputs if output.fault), None)


def findings(outputs: Sequence[OutputCheck], drawn: bool) -> list[Finding]:
    """Those on drawn pictures, in which a net may find nothing, say so."""
    where = " (on drawn pictures: look at real ones with --data)" if drawn else ""
    return [
        Finding(
            "outputs", "wrong", f"{output.name} {output.fault}{where}",
            "do not ship it; see which ranges do not hold, and quantize the FP32 file anew: quantization=int8_static",
        )
        for output in outputs
        if output.fault
    ]  # fmt: skip


def _check(name: str, values: NDArray[Any], classes: int | None) -> OutputCheck:  # (pictures, *shape)
    finite = np.isfinite(values)
    numbers = values[finite] if finite.any() else np.zeros(1, values.dtype)
    return OutputCheck(
        name=name,
        shape=values.shape[1:],
        low=float(numbers.min()),
        high=float(numbers.max()),
        not_finite_share=float(1 - finite.mean()),
        fault=_fault(values, finite, classes),
    )


def _fault(values: NDArray[Any], finite: NDArray[np.bool_], classes: int | None) -> str | None:
    pictures = len(values)
    if not finite.all():
        return f"is not finite (NaN or infinite) in {_share(1 - float(finite.mean()))} of its values"
    if (values == values.flat[0]).all():
        return f"is constant: {values.flat[0]:.4g} everywhere, on all of {pictures} pictures"
    if pictures > 1 and (values == values[0]).all():
        return f"is constant: the same on all of {pictures} pictures"
    scores = _scores(values, classes)
    if scores is not None and (scores == scores[:, :1]).all():
        return f"has constant scores: at every position the same ({scores.min():.4g} to {scores.max():.4g})"
    return None


def _scores(values: NDArray[Any], classes: int | None) -> NDArray[Any] | None:
    """(pictures, positions, classes) of what Ultralytics' nets give; None for masks' prototypes and the like."""
    if values.ndim != 4 or values.shape[1] != 1 or min(values.shape[2:]) <= COORDINATES:
        return None
    _, _, rows, columns = values.shape
    if rows > columns:  # a head that suppresses boxes itself: a row a box, one score in it
        return values[:, 0, :, COORDINATES : COORDINATES + 1]
    end = None if classes is None else COORDINATES + classes
    return values[:, 0, COORDINATES:end].transpose(0, 2, 1)


def _share(share: float) -> str:
    return "all" if share == 1 else f"{share:.1%}"
