"""THE door to ultralytics. Importing this package is cheap; `open_yolo` imports torch and ultralytics."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from secateur.adapters.yolo.habits import switch_off

if TYPE_CHECKING:
    from secateur.adapters.yolo.door import Yolo


def open_yolo(device: str, workers: int, folder: Path, trust: bool = False) -> Yolo:
    """The door; Ultralytics keeps its settings, downloads and weights under `folder`, and nowhere else. With `trust`
    all checkpoints are opened, those too that could run code."""
    switch_off(folder, trust)
    from secateur.adapters.yolo.door import Yolo

    return Yolo(device, workers, folder)
