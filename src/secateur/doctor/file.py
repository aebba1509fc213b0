"""What the file lacks as a file: what Ultralytics and other readers look for in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secateur.examination import Finding

if TYPE_CHECKING:
    from secateur.examination import ModelFile

OLDEST = 13  # scales per channel, and Split and the like as all runtimes have them


def findings(file: ModelFile) -> list[Finding]:
    """An old opset, an open input shape, metadata that lacks what readers look for; none where all is well."""
    return [*_opset(file), *_shape(file), *_metadata(file)]


def _opset(file: ModelFile) -> list[Finding]:
    if file.opset >= OLDEST:
        return []
    text = f"opset {file.opset} is older than {OLDEST}, the first with a scale for each channel"
    return [Finding("opset", "file", text, "export anew with opset=18")]


def _shape(file: ModelFile) -> list[Finding]:
    named = [str(side) for side in file.input_shape if not isinstance(side, int)]
    if not named:
        return []
    text = f"the shape of its input is dynamic ({', '.join(named)}): the runtime plans memory and layouts anew"
    return [Finding("dynamic_shape", "slow", text, "export anew with one shape: export.dynamic=false")]


def _metadata(file: ModelFile) -> list[Finding]:
    said = {"task": file.task, "names": file.classes, "imgsz": file.imgsz}
    missing = [name for name, value in said.items() if value is None]
    if not missing:
        return []
    text = f"no {', '.join(missing)} in its metadata: Ultralytics guesses the task and numbers the classes"
    return [Finding("metadata", "file", text, "export it anew; secateur's quantizations keep the metadata")]
