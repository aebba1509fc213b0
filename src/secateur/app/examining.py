"""Is this machine fit? What each part of secateur can tell of it; what is not installed is left alone."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from secateur.checkup import Check
from secateur.doctor import hardware, installed, places


def examined(outputs: Path, uri: str) -> tuple[Check, ...]:
    """What is installed, the processor, room in `outputs`, and GPUs and MLflow at `uri` where their libraries are."""
    return (*installed.checks(), *hardware.checks(), *_gpus(), *places.checks(outputs), *_tracking(uri))


def _gpus() -> Iterator[Check]:
    if find_spec("torch"):
        from secateur.adapters.yolo import graphics

        yield from graphics.checks()


def _tracking(uri: str) -> Iterator[Check]:
    if find_spec("mlflow"):
        from secateur.adapters.tracking.checking import check

        yield check(uri)
