"""Times all candidates on this device, alternated with the unpruned FP32 baseline."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from secateur.calibration import drawn
from secateur.edge.bench import Contender, compare
from secateur.ports import Tools
from secateur.results import Artifact, Latency
from secateur.specs import Benchmark, Timer

VERSION = 4
LIBRARIES = ("numpy", "pillow")

PICTURES = 8
"""Training pictures on which whole predictions are timed."""


@dataclass(frozen=True)
class Entrant:
    """A file, and what it is timed with."""

    model: Artifact
    timer: Timer


@dataclass(frozen=True)
class Inputs:
    """`baseline` is the one of `entrants` that all are compared with."""

    entrants: dict[str, Entrant]
    baseline: str
    benchmark: Benchmark
    data: Artifact
    seed: int


@dataclass(frozen=True)
class Outputs:
    """`latencies` by the entrants' names, the baseline's among them."""

    latencies: dict[str, Latency]


def timed(inputs: Inputs) -> bool:
    """Always."""
    return True


def run(inputs: Inputs, tools: Tools, out: Path) -> Outputs:
    """Times the entrants in turns, and whole predictions on PICTURES pictures; raises ExportError where one does not
    run."""
    contenders = {name: Contender(each.model.path, each.timer.runtime) for name, each in inputs.entrants.items()}
    pictures = drawn(inputs.data.path, PICTURES, inputs.seed)
    return Outputs(compare(contenders, inputs.baseline, inputs.benchmark, tools.progress, pictures))
