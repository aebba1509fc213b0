"""Training pictures as the net gets them, for whoever has to look at some."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from secateur.edge.letterbox import letterbox, read_picture
from secateur.ports import Importance, Progress, Tools
from secateur.results import Artifact
from secateur.specs import Evidence

if TYPE_CHECKING:
    from torch import Tensor, nn

    from secateur.ports import Image


def drawn(data: Path, count: int, seed: int) -> list[Path]:
    """So many training pictures, or all there are, in the order that the seed says."""
    pictures = sorted((data / "images" / "train").iterdir())
    return random.Random(seed).sample(pictures, min(count, len(pictures)))


def training_pictures(data: Path, imgsz: int, count: int, seed: int, progress: Progress) -> Iterator[Image]:
    """(1, 3, imgsz, imgsz) each, without labels, drawn by the seed; the validation pictures stay unseen."""
    chosen = drawn(data, count, seed)
    for done, path in enumerate(chosen, start=1):
        yield letterbox(read_picture(path), imgsz)
        progress(done, len(chosen))


def training_tensor(data: Path, imgsz: int, count: int, seed: int, progress: Progress) -> Tensor:
    """(count, 3, imgsz, imgsz); the same pictures, all together."""
    import numpy as np
    import torch

    return torch.from_numpy(np.concatenate(list(training_pictures(data, imgsz, count, seed, progress))))


def few_pictures(data: Path, count: int, seed: int, out: Path) -> Path:
    """The data.yaml of a set whose validation pictures are some of the training pictures of `data`."""
    chosen = drawn(data, count, seed)
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (out / kind / split).mkdir(parents=True)
        for picture in chosen:
            _link(picture, out / "images" / split)
            label = data / "labels" / "train" / f"{picture.stem}.txt"
            if label.is_file():
                _link(label, out / "labels" / split)
    (out / "data.yaml").write_bytes((data / "data.yaml").read_bytes())
    return out / "data.yaml"


def _link(file: Path, folder: Path) -> None:
    (folder / file.name).symlink_to(file.resolve())


def look(
    net: nn.Module,
    importance: Importance,
    data: Artifact | None,
    evidence: Evidence | None,
    imgsz: int,
    seed: int | None,
    tools: Tools,
) -> Tensor | None:
    """What the criterion needs besides weights: gradients are left in the net's parameters, pictures are returned."""
    if importance.needs == "weights":
        return None
    assert data and evidence and seed is not None
    labelled, pictures = data.path / "data.yaml", evidence.batches * evidence.batch
    if importance.needs == "inputs":
        return training_tensor(data.path, imgsz, pictures, seed, tools.progress)
    if importance.needs == "gradients":
        accumulate = tools.detector.accumulate_gradients
        accumulate(net, labelled, imgsz, evidence.batches, evidence.batch, seed, tools.progress)
    else:
        tools.detector.accumulate_squared_gradients(net, labelled, imgsz, pictures, seed, tools.progress)
    return None
