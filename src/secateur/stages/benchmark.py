"""Times all candidates on this device, alternated with the unpruned FP32 baseline."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from secateur.edge import bench
from secateur.ports import Tools
from secateur.results import Artifact, Latency
from secateur.specs import Benchmark, Timer

VERSION = 2
LIBRARIES: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inputs:
    """`baseline` is the one of `models` that all are compared with."""

    models: dict[str, Artifact]
    baseline: str
    timer: Timer
    benchmark: Benchmark


@dataclass(frozen=True)
class Outputs:
    latencies: dict[str, Latency]


def run(inputs: Inputs, tools: Tools, out: Path) -> Outputs:
    models = {name: model.path for name, model in inputs.models.items()}
    runtime, plan = inputs.timer.runtime, inputs.benchmark
    return Outputs(
        bench.compare(models, inputs.baseline, runtime, plan.rounds, plan.seconds, plan.warmup_seconds, tools.progress)
    )
