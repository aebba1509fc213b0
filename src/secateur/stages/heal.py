"""Mends a pruned net without training: no labels, no gradient step."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from secateur.calibration import training_tensor
from secateur.ports import Cut, Healer, Tools
from secateur.results import Artifact
from secateur.store import artifact

VERSION = 3
LIBRARIES = ("torch", "ultralytics", "pillow")


@dataclass(frozen=True)
class Inputs:
    """`weights` is the pruned net, `before` what it was cut from, `kept` the channels it has left."""

    weights: Artifact
    before: Artifact
    kept: Artifact
    healer: Healer
    data: Artifact
    imgsz: int
    seed: int


@dataclass(frozen=True)
class Outputs:
    """`weights` is the mended net, as wide as the pruned one."""

    weights: Artifact


def run(inputs: Inputs, tools: Tools, out: Path) -> Outputs:
    """Has the healer change the net on training pictures that the seed draws; raises StageError where one does not
    decode."""
    load = tools.detector.load
    kept = json.loads(inputs.kept.path.read_bytes())
    cut = Cut(load(inputs.weights.path), load(inputs.before.path), kept, tools.detector.flow)
    images = inputs.healer.images
    pictures = training_tensor(inputs.data.path, inputs.imgsz, images, inputs.seed, lambda *_: None)
    inputs.healer.heal(cut, pictures, inputs.seed, tools.progress)
    tools.detector.save(cut.net, out / "healed.pt", inputs.imgsz)
    return Outputs(artifact(out / "healed.pt"))
