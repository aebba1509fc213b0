"""Times all candidates on this device, alternated with the unpruned FP32 baseline."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from secateur.edge import bench
from secateur.ports import Runtime, Tools
from secateur.results import Artifact, Fingerprint, Latency
from secateur.specs import Benchmark

VERSION = 1
LIBRARIES: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inputs:
    """A latency holds for this device and this version of the runtime only, so both are part of the question."""

    models: dict[str, Artifact]
    baseline: str
    runtime: Runtime
    runtime_version: str
    fingerprint: Fingerprint
    benchmark: Benchmark


@dataclass(frozen=True)
class Outputs:
    latencies: dict[str, Latency]


def run(inputs: Inputs, tools: Tools, out: Path) -> Outputs:
    models = {name: model.path for name, model in inputs.models.items()}
    plan = inputs.benchmark
    return Outputs(
        bench.compare(
            models, inputs.baseline, inputs.runtime, plan.rounds, plan.seconds, plan.warmup_seconds, tools.progress
        )
    )
