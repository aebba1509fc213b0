"""A data set in YOLO format that lies in a folder; it is only read, never written to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from secateur.datasets._yolo import Layout, link, read
from secateur.errors import SpecError
from secateur.ports import Downloads


@dataclass(frozen=True)
class YoloFolder:
    """`yaml` is the data yaml's name in `root`; left out, it is data.yaml or the only one there is."""

    root: str
    yaml: str | None = None
    unlabelled: str | None = None

    def check(self) -> None:
        """Raises SpecError where the folder cannot be what it is said to be."""
        self._layout()

    def digest(self, downloads: Downloads) -> str:
        return self._layout().digest()

    def write(self, out: Path, downloads: Downloads) -> None:
        link(self._layout(), out)

    def _layout(self) -> Layout:
        return read(self._data_yaml())

    def _data_yaml(self) -> Path:
        root = Path(self.root).expanduser()
        if not root.is_dir():
            raise SpecError(f"dataset.root: no folder {self.root!r}; name one with dataset.root=…")
        if self.yaml:
            return root / self.yaml
        if (usual := root / "data.yaml").is_file():
            return usual
        found = sorted([*root.glob("*.yaml"), *root.glob("*.yml")])
        if len(found) != 1:
            raise SpecError(
                f"dataset.root: {len(found)} data yamls in {self.root!r} where one is needed; "
                "name it with dataset.yaml=…"
            )
        return found[0]
