"""A data set that Ultralytics publishes, such as coco8-seg.yaml, downloaded where it is missing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from secateur.datasets._yolo import Layout, link, read
from secateur.ports import Downloads


@dataclass(frozen=True)
class Published:
    """`yaml` is its name there."""

    yaml: str
    unlabelled: str | None = None

    def digest(self, downloads: Downloads) -> str:
        return self._layout(downloads).digest()

    def write(self, out: Path, downloads: Downloads) -> None:
        link(self._layout(downloads), out)

    def _layout(self, downloads: Downloads) -> Layout:
        return read(downloads.dataset(self.yaml))
