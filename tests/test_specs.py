from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from secateur import plugins
from secateur.app.commands import check
from secateur.quantizers.fp32 import Fp32
from secateur.quantizers.nncf import Nncf
from secateur.runtimes.ncnn import Ncnn
from secateur.runtimes.openvino import Openvino
from secateur.schedules.linear import Linear
from secateur.specs import Benchmark, Evidence, Export, Model, RunSpec, Scope, Sparsity, Training

PLAIN = "of letters, digits, '_', '.', '+' and '-', the first a letter or digit"


@pytest.fixture(scope="module")
def spec() -> RunSpec:
    return check(["model=yolov8n_seg_scratch"])


@pytest.fixture(scope="module")
def training(spec: RunSpec) -> Training:
    return spec.finetune


def refused(make: Callable[[], Any], line: str) -> None:
    with pytest.raises(ValueError, match="^" + line.translate({ord(c): f"\\{c}" for c in "()[].+"}) + "$"):
        make()


@pytest.mark.parametrize(
    ("field", "value", "line"),
    [
        ("max_map_drop", 0.0, "max_map_drop must be in (0, 1], got 0.0"),
        ("max_map_drop", -0.1, "max_map_drop must be in (0, 1], got -0.1"),
        ("max_map_drop", 1.01, "max_map_drop must be in (0, 1], got 1.01"),
        *(("name", name, f"name must be {PLAIN}, got {name!r}") for name in ("my run", "", "-x", "a/b", "a=b", "../a")),
        ("imgsz", 0, "imgsz must be a multiple of 32, got 0"),
        ("imgsz", -32, "imgsz must be a multiple of 32, got -32"),
        ("imgsz", 100, "imgsz must be a multiple of 32, got 100"),
        ("seed", -1, "seed must be 0 or more, got -1"),
    ],
)
def test_a_run_out_of_range_is_refused(spec: RunSpec, field: str, value: object, line: str) -> None:
    refused(lambda: replace(spec, **{field: value}), line)


def test_files_that_a_runtime_cannot_take_are_refused(spec: RunSpec) -> None:
    spec = replace(spec, runtime=Ncnn(), quantization=Fp32())
    reason = "it takes one picture of one size at a time, export.batch=1 export.dynamic=false"
    line = f"runtime=ncnn does not run fp32's files: {reason}"

    for export in (Export(batch=4), Export(dynamic=True)):
        refused(lambda export=export: replace(spec, export=export), line)


def test_a_runtime_that_runs_the_quantized_files_wrong_is_refused(spec: RunSpec) -> None:
    line = "runtime=openvino does not run nncf's files: OpenVINO gives wrong outputs of them (docs/runtimes.md)"

    refused(lambda: replace(spec, runtime=Openvino(), quantization=Nncf()), line)


@pytest.mark.parametrize("quantization", ["int8_static", "fp16"])
def test_a_runtime_that_does_not_run_the_quantized_files_is_refused(spec: RunSpec, quantization: str) -> None:
    part = plugins.load("quantization", quantization)()

    refused(
        lambda: replace(spec, runtime=Ncnn(), quantization=part),
        f"runtime=ncnn does not run {quantization}'s files: pnnx converts those of quantization=fp32 only",
    )


def test_a_runtime_takes_the_quantized_files_that_it_names(spec: RunSpec) -> None:
    assert replace(spec, runtime=Ncnn(), quantization=Fp32())


@pytest.mark.parametrize("changes", [{"max_map_drop": 1.0}, {"max_map_drop": None}, {"imgsz": 32}, {"seed": 0}])
def test_a_run_at_the_end_of_its_range_is_taken(spec: RunSpec, changes: dict[str, Any]) -> None:
    assert replace(spec, **changes)


@pytest.mark.parametrize(
    ("field", "value", "line"),
    [
        ("epochs", -1, "epochs must be 0 or more, got -1"),
        ("batch", 0, "batch must be 1 or more, got 0"),
        ("lr0", 0.0, "lr0 must be in (0, 1], got 0.0"),
        ("lrf", 1.5, "lrf must be in (0, 1], got 1.5"),
        ("warmup_epochs", -0.5, "warmup_epochs must be 0 or more, got -0.5"),
        ("patience", -1, "patience must be 0 (never stop early) or more, got -1"),
        ("ema_decay", 1.0, "ema_decay must be in [0, 1), got 1.0"),
        ("ema_tau", 0.0, "ema_tau must be above 0, got 0.0"),
        ("mosaic", 1.5, "mosaic must be in [0, 1], got 1.5"),
        ("fliplr", -0.1, "fliplr must be in [0, 1], got -0.1"),
    ],
)
def test_a_training_out_of_range_is_refused(training: Training, field: str, value: object, line: str) -> None:
    refused(lambda: replace(training, **{field: value}), line)


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: Scope(max_ratio=0.0), "max_ratio must be in (0, 1), got 0.0"),
        (lambda: Scope(max_ratio=1.0), "max_ratio must be in (0, 1), got 1.0"),
        (lambda: Scope(round_to=0), "round_to must be 1 or more, got 0"),
        (lambda: Evidence(batches=0, batch=1), "batches must be 1 or more, got 0"),
        (lambda: Evidence(batches=1, batch=0), "batch must be 1 or more, got 0"),
        (lambda: Benchmark(1, 1.0, 0.0), "rounds must be 2 or more, got 1"),
        (lambda: Benchmark(2, 0.0, 0.0), "seconds must be above 0, got 0.0"),
        (lambda: Benchmark(2, 1.0, -1.0), "warmup_seconds must be 0 or more, got -1.0"),
        (lambda: Linear(target=0.0, unit="macs", steps=1), "target must be in (0, 1), got 0.0"),
        (lambda: Linear(target=1.0, unit="macs", steps=1), "target must be in (0, 1), got 1.0"),
        (lambda: Linear(target=0.5, unit="macs", steps=0), "steps must be 1 or more, got 0"),
    ],
)
def test_a_value_out_of_range_is_refused(make: Callable[[], Any], line: str) -> None:
    refused(make, line)


def test_what_only_a_rung_can_have_is_refused_before_anything_is_pruned(training: Training) -> None:
    frozen, last = replace(training, freeze="untouched"), replace(training, last_epochs=3)
    idle = replace(training, optimizer="none")

    for make in (lambda t: Sparsity(0.1, t), lambda t: Model(None, "yolov8n-seg.yaml", t)):
        refused(lambda make=make: make(frozen), "training.freeze must be none before anything is pruned, got untouched")
        refused(lambda make=make: make(last), "training.last_epochs must be null, since it follows no rung, got 3")
        refused(lambda make=make: make(idle), "training.optimizer must be another than none, which trains nothing")


def test_the_last_rung_may_have_epochs_of_its_own(training: Training) -> None:
    recipe = replace(training, epochs=0, last_epochs=20)

    assert (recipe.of_rung(last=False).epochs, recipe.of_rung(last=True).epochs) == (0, 20)
    assert training.of_rung(last=True).epochs == training.epochs
    assert not recipe.never
    assert replace(training, epochs=0).never


def test_a_model_is_either_weights_or_a_training_from_scratch(training: Training) -> None:
    line = "either weights, or an architecture and a training to start from scratch, must be given"

    for make in (
        lambda: Model(),
        lambda: Model(architecture="yolov8n-seg.yaml"),
        lambda: Model(training=training),
        lambda: Model("best.pt", "yolov8n-seg.yaml", training),
    ):
        refused(make, line)
    assert Model("best.pt").training is None
    assert Model(None, "yolov8n-seg.yaml", training).weights is None
