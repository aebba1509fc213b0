"""Labels in YOLO format from what a net finds: polygons of a segmentation net, boxes of a detector."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ultralytics import YOLO

from secateur.ports import Progress


def annotate(
    weights: Path, images: Path, imgsz: int, confidence: float, labels: Path, device: str, progress: Progress
) -> int:
    """Writes a file a picture below `labels`, empty where nothing is found; how many instances there are."""
    labels.mkdir()
    total, instances = len(list(images.iterdir())), 0
    found = YOLO(weights).predict(
        str(images), imgsz=imgsz, conf=confidence, device=device, stream=True, verbose=False, save=False
    )
    for done, seen in enumerate(found, start=1):
        lines = list(_lines(seen))
        (labels / f"{Path(seen.path).stem}.txt").write_text("".join(f"{line}\n" for line in lines))
        instances += len(lines)
        progress(done, total)
    return instances


def _lines(seen: Any) -> Iterator[str]:
    """`class x y x y …` or `class x y w h`, in shares of the picture."""
    kinds = seen.boxes.cls.int().tolist()
    if seen.masks is None:
        places = seen.boxes.xywhn.tolist()
    else:
        places = [outline.ravel().tolist() for outline in seen.masks.xyn]
    least = 4 if seen.masks is None else 6  # a mask may be too small to have an outline
    for kind, values in zip(kinds, places, strict=True):
        if len(values) >= least:
            yield " ".join([str(kind), *(f"{value:.6f}" for value in values)])
