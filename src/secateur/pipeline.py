"""One run: prune step by step, fine-tune after each, quantize, score and time what would ship."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from secateur import plugins
from secateur.bootstrap import DRAWS
from secateur.edge.fingerprint import fingerprint
from secateur.errors import SpecError
from secateur.ports import ConvertingRuntime, Detector, Quantizer, Runtime, Sink, Tools
from secateur.quantizers.fp16 import Fp16
from secateur.quantizers.fp32 import Fp32
from secateur.results import (
    BASELINE,
    Accuracy,
    Artifact,
    Candidate,
    Footprint,
    LayerNoise,
    Rung,
    RunHeader,
    RunReport,
    Sample,
    Sensitivity,
)
from secateur.runner import Runner
from secateur.runtimes.onnxruntime import Onnxruntime
from secateur.selection import refusal, select
from secateur.specs import RunSpec, Timer, Training
from secateur.stages import (
    annotate,
    baseline,
    benchmark,
    contrast,
    convert,
    depict,
    evaluate,
    export,
    finetune,
    gather,
    heal,
    locate,
    prepare,
    prune,
    quantize,
    quantize_aware,
    sensitivity,
    sparsify,
    swap,
    verify,
)
from secateur.store import Store, artifact, size

VERIFIED = 4
"""Training pictures on which each file must give something of use."""

SAMPLES = 3
"""Validation pictures into which is drawn what each file finds."""

LISTENED = 8
"""Training pictures on which each layer of an INT8 file is compared with the float file's."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Net:
    """A checkpoint with what it costs and what it scores; `matches` are what it found, picture by picture."""

    weights: Artifact
    footprint: Footprint
    accuracy: Accuracy
    matches: Artifact


@dataclass(frozen=True)
class File:
    """A net as a file that could ship, and what runs it; `exact` is the float file, in ONNX, that it was made of."""

    net: Net
    quantization: str
    exact: Artifact
    model: Artifact
    timer: Timer


def run(spec: RunSpec, header: RunHeader, tools: Tools, store: Store, sinks: Sequence[Sink]) -> RunReport:
    """The whole method; raises SecateurError where a stage cannot do its work."""
    started = time.perf_counter()
    stage, spec = Runner(tools, store, sinks), settled(spec, tools.detector)

    data, unpruned = begin(spec, tools, stage)
    teacher = teacher_for(unpruned, spec, stage)
    stage.tell(Rung(0, 0.0, 0.0, unpruned.footprint, unpruned.accuracy, unpruned.accuracy, accepted=True))

    sparse = sparsified(unpruned, spec, data.data, stage)
    start = swapped(sparse, spec, data.data, stage)
    ladder = spec.schedule.rungs() if spec.schedule else ()
    probed = probe(start, spec, data.data, stage) if ladder and spec.scope.kind == "sensitivity" else None
    unlabelled = more_pictures(teacher, spec, data.data, stage) if ladder else None

    rungs: list[Rung] = []
    cuts: tuple[Artifact, ...] = ()
    current, accepted = start, unpruned
    refused = 0
    for number, target in enumerate(ladder, start=1):
        smaller = cut(current, unpruned, target, number, probed, spec, data.data, stage)
        pruned = mend(smaller, current, number, spec, data.data, stage)
        cuts = (*cuts, smaller.kept)
        training = spec.finetune.of_rung(last=number == len(ladder))
        tuned = recover(pruned, training, unpruned.weights, teacher, cuts, number, unlabelled, spec, data.data, stage)
        current = kept_net(tuned, pruned, data.names, number, spec, stage)
        passes = within_budget(current, unpruned, spec.max_map_drop)
        rungs.append(as_rung(number, target, smaller, pruned, tuned, current, passes))
        stage.tell(rungs[-1])
        if passes:
            accepted, refused = current, 0
        else:
            refused += 1
        if refused > spec.patience:
            break

    nets = {"baseline": unpruned} if accepted is unpruned else {"baseline": unpruned, "pruned": accepted}
    candidates = measure(nets, spec, data.data, data.names, stage)
    selected, why = select(candidates, spec.max_map_drop)
    if rungs and accepted is unpruned and spec.max_map_drop:
        why = f"{refusal(rungs, unpruned.accuracy, spec.max_map_drop)}; {why}"

    return RunReport(
        **vars(header),
        status="finished",
        seconds=time.perf_counter() - started,
        fingerprint=fingerprint(),
        dataset={**asdict(data), "data": data.data.sha256},
        baseline_footprint=unpruned.footprint,
        baseline=unpruned.accuracy,
        before_pruning=changed({"baseline": unpruned, "sparse": sparse, "swapped": start}),
        rungs=tuple(rungs),
        checkpoints={name: net.weights for name, net in nets.items()},
        candidates=candidates,
        selected=selected,
        why=why,
    )


def sensitivities(spec: RunSpec, tools: Tools, store: Store, sinks: Sequence[Sink]) -> Sensitivity:
    """What each group of channels costs alone, and nothing else; raises SecateurError."""
    spec = replace(spec, quantization=Fp32())  # nothing is quantized
    stage, spec = Runner(tools, store, sinks), settled(spec, tools.detector)
    data, unpruned = begin(spec, tools, stage)
    start = swapped(sparsified(unpruned, spec, data.data, stage), spec, data.data, stage)
    return probe(start, spec, data.data, stage)


def settled(spec: RunSpec, detector: Detector) -> RunSpec:
    """With what its trainings leave to the device decided, since that is part of what comes of them."""
    model, sparsity = spec.model, spec.sparsity
    if model.training:
        model = replace(model, training=detector.settled(model.training))
    if sparsity:
        sparsity = replace(sparsity, training=detector.settled(sparsity.training))
    return replace(spec, model=model, sparsity=sparsity, finetune=detector.settled(spec.finetune))


def begin(spec: RunSpec, tools: Tools, stage: Runner) -> tuple[prepare.Outputs, Net]:
    """The data set and the unpruned net, which fit each other; what does not is told before long work."""
    source = spec.model.weights
    weights = tools.detector.resolve_weights("model.weights", source) if source else None
    data = stage(prepare.run, prepare.Inputs(spec.dataset.digest(tools.downloads), spec.dataset), "data")
    check_apart(data, spec.quantization)
    if weights:
        tools.detector.check_fits(weights, len(data.names), data.labels)
    return data, unpruned_net(spec, weights, data.data, stage)


def check_apart(data: prepare.Outputs, quantizer: Quantizer) -> None:
    """Raises SpecError where a quantizer would calibrate on validation pictures, and warns where none would: what is
    pruned, healed or trained looks at them too."""
    if not data.val_in_train:
        return
    found = f"dataset: {data.val_in_train} of {data.val_images} validation pictures are training pictures too"
    if quantizer.images:
        without = [name for name in plugins.names("quantization") if not plugins.load("quantization", name).images]
        raise SpecError(
            f"{found}, which {quantizer.name} calibrates on: split them anew, or take a quantization without "
            f"calibration: {', '.join(without)}"
        )
    log.warning("%s: whatever is pruned, healed or trained by them scores better than it is", found)


def unpruned_net(spec: RunSpec, weights: Path | None, data: Artifact, stage: Runner) -> Net:
    """The unpruned net, scored."""
    if weights:
        inputs = baseline.Inputs(spec.imgsz, weights=artifact(weights))
    else:
        model = spec.model
        inputs = baseline.Inputs(
            spec.imgsz, None, model.architecture, model.training, data, spec.seed, stage.tools.detector.processes
        )
    made = stage(baseline.run, inputs, "baseline")
    return as_net(made.weights, made.footprint, "baseline", None, spec, data, stage)


def sparsified(unpruned: Net, spec: RunSpec, data: Artifact, stage: Runner) -> Net:
    """The net after sparse training, scored; the unpruned net where there is none."""
    if spec.sparsity is None:
        return unpruned
    scope = spec.scope
    inputs = sparsify.Inputs(unpruned.weights, data, spec.sparsity, scope.head, scope.keep, spec.imgsz, spec.seed)
    made = stage(sparsify.run, inputs, "sparse")
    return as_net(made.weights, unpruned.footprint, "sparse", None, spec, data, stage)


def swapped(net: Net, spec: RunSpec, data: Artifact, stage: Runner) -> Net:
    """The net with other activations, mended as far as that goes without training, and scored; the same net where it
    keeps its own."""
    if spec.activation == "silu":
        return net
    made = stage(swap.run, swap.Inputs(net.weights, spec.activation), spec.activation)
    weights = healed(made.weights, net, made.kept, None, spec, data, stage)
    return as_net(weights, net.footprint, "swapped", None, spec, data, stage)


def changed(nets: dict[str, Net]) -> dict[str, Accuracy]:
    """What each net scores that is not the one before it."""
    steps = itertools.pairwise(nets.items())
    return {name: net.accuracy for (_, before), (name, net) in steps if net is not before}


def probe(net: Net, spec: RunSpec, data: Artifact, stage: Runner) -> Sensitivity:
    """What each group of channels costs alone."""
    looks = None if spec.importance.needs == "weights" else spec.evidence
    inputs = sensitivity.Inputs(
        net.weights, spec.importance, spec.scope.head, spec.scope.keep, spec.sensitivity, spec.imgsz, data,
        spec.seed, looks,
    )  # fmt: skip
    return stage(sensitivity.run, inputs, "each group alone")


def cut(
    net: Net, unpruned: Net, target: float, rung: int, probed: Sensitivity | None, spec: RunSpec, data: Artifact,
    stage: Runner,
) -> prune.Outputs:  # fmt: skip
    """The net with fewer channels."""
    assert spec.schedule
    unit = spec.schedule.unit
    looks = (None, None, None) if spec.importance.needs == "weights" else (data, spec.evidence, spec.seed)
    clock, way = (timer(spec.runtime), spec.export) if unit == "latency" else (None, None)
    inputs = prune.Inputs(
        net.weights, unpruned.weights, spec.importance, spec.scope, unit, target, spec.imgsz, clock, way, probed, *looks
    )
    return stage(prune.run, inputs, f"−{target:.0%} {unit}", rung)


def mend(pruned: prune.Outputs, before: Net, rung: int, spec: RunSpec, data: Artifact, stage: Runner) -> Net:
    """The pruned net, mended as far as that goes without training, and scored."""
    weights = healed(pruned.weights, before, pruned.kept, rung, spec, data, stage)
    return as_net(weights, pruned.footprint, "pruned", rung, spec, data, stage)


def healed(
    weights: Artifact, before: Net, kept: Artifact, rung: int | None, spec: RunSpec, data: Artifact, stage: Runner
) -> Artifact:
    """What has become of the net before, mended so that it gives what that gave; as it is where nothing is to heal."""
    if spec.healing is None:
        return weights
    inputs = heal.Inputs(weights, before.weights, kept, spec.healing, data, spec.imgsz, spec.seed)
    return stage(heal.run, inputs, "without training", rung).weights


def teacher_for(unpruned: Net, spec: RunSpec, stage: Runner) -> Artifact:
    """The net to learn from: the unpruned one, or a checkpoint whose outputs compare with its."""
    if spec.distillation.teacher is None:
        return unpruned.weights
    detector = stage.tools.detector
    weights = detector.resolve_weights("distillation.teacher", spec.distillation.teacher)
    detector.check_teaches(weights, unpruned.weights.path, spec.distillation)
    return artifact(weights)


def more_pictures(teacher: Artifact, spec: RunSpec, data: Artifact, stage: Runner) -> Artifact | None:
    """Those without labels, where there are some to learn from; labelled by the teacher where labels count."""
    folder = spec.dataset.unlabelled
    if folder is None or spec.finetune.never:
        return None
    found = stage(gather.run, gather.Inputs(artifact(Path(folder)), data), "unlabelled").pictures
    if not spec.distillation.labels:
        return found
    inputs = annotate.Inputs(teacher, found, spec.distillation.confidence, spec.imgsz)
    return stage(annotate.run, inputs, "unlabelled").pictures


def recover(
    pruned: Net, training: Training, unpruned: Artifact, teacher: Artifact, cuts: tuple[Artifact, ...], rung: int,
    unlabelled: Artifact | None, spec: RunSpec, data: Artifact, stage: Runner,
) -> Net:  # fmt: skip
    """The net after fine-tuning, scored again; the same net where there is none."""
    if not training.epochs:
        return pruned
    inputs = finetune.Inputs(
        pruned.weights, data, training, spec.distillation, spec.imgsz, spec.seed,
        teacher if spec.distillation.has_teacher else None, unlabelled, cuts if spec.distillation.neck else (),
        unpruned if training.freeze == "untouched" else None, stage.tools.detector.processes,
    )  # fmt: skip
    made = stage(finetune.run, inputs, "fine-tuning", rung)
    return as_net(made.weights, pruned.footprint, "tuned", rung, spec, data, stage)


def kept_net(tuned: Net, pruned: Net, names: tuple[str, ...], rung: int, spec: RunSpec, stage: Runner) -> Net:
    """The net that fine-tuning made of the pruned one, unless it scores less and its boxes or masks are measurably
    worse."""
    if tuned is pruned:
        return pruned
    inputs = contrast.Inputs(pruned.matches, {"tuned": tuned.matches}, names, DRAWS, spec.seed)
    change = stage(contrast.run, inputs, "fine-tuning", rung).changes["tuned"]
    return pruned if tuned.accuracy.main < pruned.accuracy.main and change.is_loss else tuned


def as_rung(
    number: int, target: float, smaller: prune.Outputs, pruned: Net, tuned: Net, current: Net, accepted: bool
) -> Rung:
    """What is told of a rung: the net that was cut, as it was mended, as it was tuned, and which of both is kept."""
    return Rung(
        number, target, smaller.reached, current.footprint, pruned.accuracy, current.accuracy, accepted, smaller.trials,
        smaller.channels, undone=None if current is tuned else tuned.accuracy,
    )  # fmt: skip


def within_budget(net: Net, unpruned: Net, max_map_drop: float | None) -> bool:
    """Whether it loses no more mAP50-95 than that, a fraction; always where there is no budget."""
    return max_map_drop is None or unpruned.accuracy.main - net.accuracy.main <= max_map_drop


def measure(
    nets: dict[str, Net], spec: RunSpec, data: Artifact, names: tuple[str, ...], stage: Runner
) -> tuple[Candidate, ...]:
    """Each net in FP32 and quantized, as files: looked at, scored and timed, both against the unpruned FP32."""
    exported = {name: as_onnx(net.weights, name, spec, stage) for name, net in nets.items()}
    files = reference(nets["baseline"], exported["baseline"], spec) | shipping(nets, exported, spec, data, stage)
    faults, scores, samples, layers = {}, {}, {}, {}
    for name, file in files.items():
        looked = verify.Inputs(file.model, file.timer.without_clock, data, spec.imgsz, VERIFIED, spec.seed)
        faults[name] = stage(verify.run, looked, name).fault
        scores[name] = score(file.model, name, None, spec, data, stage, file.timer.without_clock)
        samples[name] = () if faults[name] else depicted(file, name, spec, data, stage)
        layers[name] = () if faults[name] else located(file, name, spec, data, stage)
    changed = contrasts({name: scored.matches for name, scored in scores.items()}, names, spec, stage)
    entrants = {name: benchmark.Entrant(file.model, file.timer) for name, file in files.items()}
    inputs = benchmark.Inputs(entrants, BASELINE, spec.benchmark, data, spec.seed)
    latencies = stage(benchmark.run, inputs, spec.runtime.name).latencies
    return tuple(
        Candidate(
            name, file.timer.runtime.name, file.quantization, file.model, size(file.model.path), file.net.footprint,
            scores[name].accuracy, latencies[name], changed.changes.get(name), faults[name],
            changed.classes.get(name, ()), samples[name], layers[name],
        )
        for name, file in files.items()
    )  # fmt: skip


def as_onnx(weights: Artifact, label: str, spec: RunSpec, stage: Runner) -> Artifact:
    """The checkpoint as a float file that takes its pictures as `spec.export` says."""
    return stage(export.run, export.Inputs(weights, spec.imgsz, spec.export), label).model


def reference(unpruned: Net, exported: Artifact, spec: RunSpec) -> dict[str, File]:
    """What all files are compared with, whatever they run in: the unpruned net in FP32, in ONNX Runtime."""
    runtime = spec.runtime if isinstance(spec.runtime, Onnxruntime) else Onnxruntime(threads=spec.runtime.threads)
    return {BASELINE: File(unpruned, Fp32.name, exported, exported, timer(runtime))}


def shipping(
    nets: dict[str, Net], exported: dict[str, Artifact], spec: RunSpec, data: Artifact, stage: Runner
) -> dict[str, File]:
    """Each net in FP32 and quantized, as the run's runtime takes it; names say which that is, if not ONNX Runtime."""
    ways: dict[str, Quantizer] = {way.name: way for way in (Fp32(), spec.quantization)}
    suffix = "" if isinstance(spec.runtime, Onnxruntime) else f"-{spec.runtime.name}"
    files = {}
    for (net_name, net), way in itertools.product(nets.items(), ways.values()):
        name = f"{net_name}-{way.name}"
        exact = prepared(net, exported[net_name], way, name, spec, data, stage)
        model = converted(quantized(exact, way, name, spec, data, stage), f"{name}{suffix}", spec, stage)
        files[f"{name}{suffix}"] = File(net, way.name, exact, model, timer(spec.runtime))
    return files


def prepared(
    net: Net, exported: Artifact, way: Quantizer, name: str, spec: RunSpec, data: Artifact, stage: Runner
) -> Artifact:
    """The net as an ONNX file in float; trained to bear being quantized, where the quantizer asks for it."""
    training = getattr(way, "training", None)
    if training is None:
        return exported
    inputs = quantize_aware.Inputs(net.weights, data, training, spec.imgsz, spec.seed)
    return as_onnx(stage(quantize_aware.run, inputs, name).weights, name, spec, stage)


def quantized(exported: Artifact, way: Quantizer, name: str, spec: RunSpec, data: Artifact, stage: Runner) -> Artifact:
    """The file, quantized."""
    looks = (data, spec.seed) if way.images else (None, None)
    return stage(quantize.run, quantize.Inputs(exported, way, spec.imgsz, *looks), name).model


def converted(model: Artifact, name: str, spec: RunSpec, stage: Runner) -> Artifact:
    """The file as the runtime reads it."""
    if not isinstance(spec.runtime, ConvertingRuntime):
        return model
    return stage(convert.run, convert.Inputs(model, spec.runtime), name).model


def depicted(file: File, name: str, spec: RunSpec, data: Artifact, stage: Runner) -> tuple[Sample, ...]:
    """What the file finds in a few validation pictures."""
    inputs = depict.Inputs(file.model, file.timer.without_clock, data, SAMPLES, spec.seed)
    return stage(depict.run, inputs, name).samples


def located(file: File, name: str, spec: RunSpec, data: Artifact, stage: Runner) -> tuple[LayerNoise, ...]:
    """What INT8 does to each layer; nothing of a file in float, or in another runtime, which has its own forms."""
    if file.quantization in (Fp32.name, Fp16.name) or not isinstance(file.timer.runtime, Onnxruntime):
        return ()
    inputs = locate.Inputs(file.exact, file.model, data, spec.imgsz, LISTENED, spec.seed)
    return stage(locate.run, inputs, name).layers


def contrasts(matches: dict[str, Artifact], names: tuple[str, ...], spec: RunSpec, stage: Runner) -> contrast.Outputs:
    """What each file but the unpruned FP32 differs from it by, in accuracy: over all, and of each class."""
    others = {name: found for name, found in matches.items() if name != BASELINE}
    inputs = contrast.Inputs(matches[BASELINE], others, names, DRAWS, spec.seed)
    return stage(contrast.run, inputs, "accuracies")


def as_net(
    weights: Artifact, footprint: Footprint, label: str, rung: int | None, spec: RunSpec, data: Artifact, stage: Runner
) -> Net:
    """A checkpoint, scored."""
    scored = score(weights, label, rung, spec, data, stage)
    return Net(weights, footprint, scored.accuracy, scored.matches)


def score(
    model: Artifact, label: str, rung: int | None, spec: RunSpec, data: Artifact, stage: Runner,
    timer: Timer | None = None,
) -> evaluate.Outputs:  # fmt: skip
    """How well a checkpoint does; with a timer, a file in its runtime."""
    return stage(evaluate.run, evaluate.Inputs(model, data, spec.imgsz, timer), label, rung)


def timer(runtime: Runtime) -> Timer:
    """The runtime with its installed version, and this device."""
    return Timer(runtime, runtime.version(), fingerprint())
