"""One run: prune step by step, fine-tune after each, quantize, score and time what would ship."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from secateur.edge.fingerprint import fingerprint
from secateur.ports import Quantizer, Sink, Tools
from secateur.quantizers.fp32 import Fp32
from secateur.results import BASELINE, Accuracy, Artifact, Candidate, Footprint, Rung, RunHeader, RunReport
from secateur.runner import Runner
from secateur.selection import select
from secateur.specs import RunSpec
from secateur.stages import baseline, benchmark, evaluate, export, finetune, heal, prepare, prune, quantize
from secateur.store import Store, artifact


@dataclass(frozen=True)
class Net:
    """A checkpoint with what it costs and what it scores."""

    weights: Artifact
    footprint: Footprint
    accuracy: Accuracy


def run(spec: RunSpec, header: RunHeader, tools: Tools, store: Store, sinks: Sequence[Sink]) -> RunReport:
    """The whole method; raises SecateurError where a stage cannot do its work."""
    started = time.perf_counter()
    stage = Runner(tools, store, sinks)

    source = spec.model.weights
    weights = tools.detector.resolve_weights(source) if source else None  # a wrong file is told before long work
    data = stage(prepare.run, prepare.Inputs(spec.dataset.digest(tools.downloads), spec.dataset), "data")
    if weights:
        tools.detector.check_classes(weights, len(data.names))
    unpruned = start(spec, weights, data.data, stage)
    stage.tell(Rung(0, 0.0, unpruned.footprint, unpruned.accuracy, unpruned.accuracy, accepted=True))

    rungs: list[Rung] = []
    smallest = unpruned
    for number, target in enumerate(spec.schedule.rungs(), start=1):
        pruned = cut(smallest, unpruned, target, number, spec, data.data, stage)
        tuned = recover(pruned, number, spec, data.data, stage)
        accepted = within_budget(tuned, unpruned, spec.max_map_drop)
        rungs.append(Rung(number, target, tuned.footprint, pruned.accuracy, tuned.accuracy, accepted))
        stage.tell(rungs[-1])
        if not accepted:
            break  # the last accepted rung ships
        smallest = tuned

    nets = {"baseline": unpruned} if smallest is unpruned else {"baseline": unpruned, "pruned": smallest}
    candidates = measure(nets, spec, data.data, stage)
    selected, why = select(candidates, spec.max_map_drop)

    return RunReport(
        **vars(header),
        status="finished",
        seconds=time.perf_counter() - started,
        fingerprint=fingerprint(),
        dataset={**asdict(data), "data": data.data.sha256},
        baseline_footprint=unpruned.footprint,
        baseline=unpruned.accuracy,
        rungs=tuple(rungs),
        candidates=candidates,
        selected=selected,
        why=why,
    )


def start(spec: RunSpec, weights: Path | None, data: Artifact, stage: Runner) -> Net:
    """The unpruned net, scored."""
    if weights:
        inputs = baseline.Inputs(spec.imgsz, weights=artifact(weights))
    else:
        model = spec.model
        inputs = baseline.Inputs(spec.imgsz, None, model.architecture, model.training, data, spec.seed)
    made = stage(baseline.run, inputs, "baseline")
    return Net(made.weights, made.footprint, score(made.weights, "baseline", None, spec, data, stage))


def cut(net: Net, unpruned: Net, target: float, rung: int, spec: RunSpec, data: Artifact, stage: Runner) -> Net:
    """The net with fewer channels, mended as far as that goes without training, and scored."""
    looks = (None, None, None) if spec.importance.needs == "weights" else (data, spec.evidence, spec.seed)
    inputs = prune.Inputs(
        net.weights, unpruned.weights, spec.importance, spec.scope, spec.schedule.unit, target, spec.imgsz, *looks
    )
    made = stage(prune.run, inputs, f"−{target:.0%} {spec.schedule.unit}", rung)
    weights = mend(made, net, rung, spec, data, stage)
    return Net(weights, made.footprint, score(weights, "pruned", rung, spec, data, stage))


def mend(pruned: prune.Outputs, before: Net, rung: int, spec: RunSpec, data: Artifact, stage: Runner) -> Artifact:
    """The pruned weights, healed if the run heals."""
    if spec.healing is None:
        return pruned.weights
    inputs = heal.Inputs(pruned.weights, before.weights, pruned.kept, spec.healing, data, spec.imgsz, spec.seed)
    return stage(heal.run, inputs, "without training", rung).weights


def recover(pruned: Net, rung: int, spec: RunSpec, data: Artifact, stage: Runner) -> Net:
    """The net after fine-tuning, scored again; the same net where there is none."""
    if not spec.finetune.epochs:
        return pruned
    inputs = finetune.Inputs(pruned.weights, data, spec.finetune, spec.imgsz, spec.seed)
    made = stage(finetune.run, inputs, "fine-tuning", rung)
    return Net(made.weights, pruned.footprint, score(made.weights, "tuned", rung, spec, data, stage))


def within_budget(net: Net, unpruned: Net, max_map_drop: float | None) -> bool:
    return max_map_drop is None or unpruned.accuracy.main - net.accuracy.main <= max_map_drop


def measure(nets: dict[str, Net], spec: RunSpec, data: Artifact, stage: Runner) -> tuple[Candidate, ...]:
    """Each net in FP32 and quantized, as files: scored, and timed against the unpruned FP32."""
    ways: dict[str, Quantizer] = {way.name: way for way in (Fp32(), spec.quantization)}
    models, scores, origins = {}, {}, {}
    for net_name, net in nets.items():
        exported = stage(export.run, export.Inputs(net.weights, spec.imgsz), net_name)
        for way in ways.values():
            name = f"{net_name}-{way.name}"
            looks = (data, spec.seed) if way.images else (None, None)
            made = stage(quantize.run, quantize.Inputs(exported.model, way, spec.imgsz, *looks), name)
            models[name], origins[name] = made.model, (net, way.name)
            scores[name] = score(made.model, name, None, spec, data, stage)
    inputs = benchmark.Inputs(models, BASELINE, spec.runtime, spec.runtime.version(), fingerprint(), spec.benchmark)
    latencies = stage(benchmark.run, inputs, spec.runtime.name).latencies
    return tuple(
        Candidate(
            name, spec.runtime.name, origins[name][1], model, model.path.stat().st_size, origins[name][0].footprint,
            scores[name], latencies[name],
        )
        for name, model in models.items()
    )  # fmt: skip


def score(model: Artifact, label: str, rung: int | None, spec: RunSpec, data: Artifact, stage: Runner) -> Accuracy:
    return stage(evaluate.run, evaluate.Inputs(model, data, spec.imgsz), label, rung)
