"""Turns an ONNX file into the format of a runtime that does not read it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from secateur.ports import ConvertingRuntime, Tools
from secateur.results import Artifact
from secateur.store import artifact

VERSION = 1
LIBRARIES: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inputs:
    """`model` is an ONNX file."""

    model: Artifact
    runtime: ConvertingRuntime


@dataclass(frozen=True)
class Outputs:
    """`model` is a folder."""

    model: Artifact


def run(inputs: Inputs, tools: Tools, out: Path) -> Outputs:
    """Writes what the runtime opens; raises ExportError where the file cannot be converted."""
    target = out / "model"
    inputs.runtime.convert(inputs.model.path, target)
    return Outputs(artifact(target))
