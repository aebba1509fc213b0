"""Training pictures as the net gets them, without their labels, for whoever has to look at some."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from secateur.edge.letterbox import letterbox, read_picture
from secateur.ports import Progress

if TYPE_CHECKING:
    from torch import Tensor

    from secateur.ports import Image


def training_pictures(data: Path, imgsz: int, count: int, seed: int, progress: Progress) -> Iterator[Image]:
    """(1, 3, imgsz, imgsz) each, drawn by the seed; the validation pictures stay unseen."""
    pictures = sorted((data / "images" / "train").iterdir())
    chosen = random.Random(seed).sample(pictures, min(count, len(pictures)))
    for done, path in enumerate(chosen, start=1):
        yield letterbox(read_picture(path), imgsz)
        progress(done, len(chosen))


def training_tensor(data: Path, imgsz: int, count: int, seed: int, progress: Progress) -> Tensor:
    """(count, 3, imgsz, imgsz); the same pictures, all together."""
    import numpy as np
    import torch

    return torch.from_numpy(np.concatenate(list(training_pictures(data, imgsz, count, seed, progress))))
