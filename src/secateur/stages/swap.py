"""Puts another activation in place of each SiLU: one that runtimes quantize better, or run faster."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from secateur.errors import SpecError
from secateur.ports import Tools
from secateur.results import Artifact
from secateur.specs import Activation
from secateur.store import artifact

VERSION = 1
LIBRARIES = ("torch", "ultralytics")


@dataclass(frozen=True)
class Inputs:
    """`weights` is a checkpoint with SiLU; `activation` takes its place."""

    weights: Artifact
    activation: Activation


@dataclass(frozen=True)
class Outputs:
    """`swapped` counts the activations; `kept` is a file as that of a cut, in which each layer keeps all it gives."""

    weights: Artifact
    kept: Artifact
    swapped: int


def run(inputs: Inputs, tools: Tools, out: Path) -> Outputs:
    """Raises SpecError where the net has no SiLU."""
    net = tools.detector.load(inputs.weights.path)
    swapped = tools.detector.swap_activations(net, inputs.activation)
    if not swapped:
        raise SpecError(f"activation={inputs.activation}: the net has no SiLU to replace; silu leaves it as it is")
    tools.detector.save(net, out / "swapped.pt")
    (out / "kept.json").write_text(json.dumps(tools.pruner.channels(net)))
    return Outputs(artifact(out / "swapped.pt"), artifact(out / "kept.json"), swapped)
