"""Files that do not say when they were written, so that equal nets are equal files, whenever they are exported."""

from __future__ import annotations

from pathlib import Path

import onnx


def undated(file: Path) -> None:
    """Takes the date of its export out of what an ONNX file says of itself."""
    model = onnx.load(file)
    kept = [entry for entry in model.metadata_props if entry.key != "date"]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    onnx.save(model, file)
