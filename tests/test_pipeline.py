"""What the pipeline does with splits that overlap, with a training that harms, and with a file that is of no use."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from secateur.adapters.channel_pruning import ChannelPruner
from secateur.adapters.yolo.door import Yolo
from secateur.app.commands import check
from secateur.errors import SpecError
from secateur.pipeline import File, Net, check_apart, kept_net, located, measure
from secateur.ports import Quantizer, Tools
from secateur.quantizers.fp16 import Fp16
from secateur.quantizers.fp32 import Fp32
from secateur.quantizers.int8_dynamic import Int8Dynamic
from secateur.quantizers.int8_static import Int8Static
from secateur.results import BASELINE, Accuracy, Candidate, Footprint, Rung, RunReport, StageRecord
from secateur.runner import Runner
from secateur.runtimes.onnxruntime import Onnxruntime
from secateur.runtimes.openvino import Openvino
from secateur.selection import select
from secateur.specs import Benchmark, Timer
from secateur.stages import prepare
from secateur.store import Store, artifact
from tests.conftest import IMGSZ, no_progress
from tests.stages.test_contrast import NAMES as TWO
from tests.stages.test_contrast import SURE, kept, without

VERSION = 1
NOWHERE: Any = None
NAMES = ("circle", "box", "triangle", "star", "cross")


@dataclass(frozen=True)
class Spoiled:
    """Writes a file whose last bias is no number."""

    name: ClassVar[str] = "spoiled"
    images: ClassVar[int] = 0

    def quantize(self, model: Path, calibration: Iterable[np.ndarray], out: Path) -> None:
        net = onnx.load(model)
        biases = [entry for entry in net.graph.initializer if entry.name.endswith(".bias")]
        for bias in biases:
            values = np.full_like(numpy_helper.to_array(bias), np.nan)
            bias.CopyFrom(numpy_helper.from_array(values, bias.name))
        onnx.save(net, out)


class Records(list[StageRecord]):
    """A sink that keeps the stages' records."""

    def stage_started(self, stage: str, label: str) -> None: ...

    def stage_finished(self, record: StageRecord) -> None:
        self.append(record)

    def epoch_finished(self, label: str, rung: int | None, epoch: object) -> None: ...

    def rung_finished(self, rung: Rung) -> None: ...

    def run_finished(self, report: RunReport) -> None: ...


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["openvino", "ncnn"])
def test_files_in_another_runtime_stand_beside_the_unpruned_fp32_in_onnx_runtime(
    runtime: str, yolo: Yolo, seg_checkpoint: Path, shapes: Path, tmp_path: Path
) -> None:
    pytest.importorskip(runtime)
    spec = replace(
        check([f"runtime={runtime}", "runtime.threads=1", "quantization=fp32", f"imgsz={IMGSZ}"]),
        benchmark=Benchmark(2, 0.1, 0.0),
    )  # fmt: skip
    stage = Runner(Tools(yolo, ChannelPruner(), yolo, no_progress), Store(tmp_path / "store"), ())
    unpruned = Net(artifact(seg_checkpoint), Footprint(1, 1), Accuracy(0, 0, 0, 0, 8, "nobody"), NOWHERE)

    first, other = measure({"baseline": unpruned}, spec, artifact(shapes.parent), NAMES, stage)

    assert [(c.name, c.runtime, c.latency.runtime, c.latency.threads) for c in (first, other)] == [
        (BASELINE, "onnxruntime", "onnxruntime", 1), (f"baseline-fp32-{runtime}", runtime, runtime, 1),
    ]  # fmt: skip
    assert other.size_bytes > 1_000_000
    assert first.latency.speedup.median == 1
    assert other.latency.speedup.median != 1
    assert other.accuracy.box_map50_95 == pytest.approx(first.accuracy.box_map50_95, abs=0.002)
    assert other.latency.end_to_end


@pytest.mark.slow
def test_a_file_that_gives_nan_stays_in_the_report_with_its_fault_and_the_run_goes_on(
    yolo: Yolo, seg_checkpoint: Path, shapes: Path, tmp_path: Path
) -> None:
    spec = replace(
        check(["model=yolov8n_seg_scratch", f"imgsz={IMGSZ}", "runtime.threads=1"]),
        quantization=Spoiled(), benchmark=Benchmark(2, 0.1, 0.0),
    )  # fmt: skip
    records = Records()
    stage = Runner(Tools(yolo, ChannelPruner(), yolo, no_progress), Store(tmp_path / "store"), (records,))
    unpruned = Net(artifact(seg_checkpoint), Footprint(1, 1), Accuracy(0, 0, 0, 0, 8, "nobody"), NOWHERE)

    sound, spoiled = measure({"baseline": unpruned}, spec, artifact(shapes.parent), NAMES, stage)

    assert (sound.name, sound.fault) == (BASELINE, None)
    assert spoiled.fault is not None
    assert spoiled.fault.startswith("output0 is not finite (NaN or infinite) in ")
    assert spoiled.accuracy.main == 0
    assert spoiled.latency.ms.p50 > 0
    assert [(r.label, r.outputs["fault"]) for r in records if r.stage == "verify"] == [
        (BASELINE, None), ("baseline-spoiled", spoiled.fault),
    ]  # fmt: skip
    assert select((sound, fastest(spoiled)), None)[0] == BASELINE


@pytest.mark.parametrize(
    ("quantization", "runtime"),
    [("fp32", Onnxruntime()), ("fp16", Onnxruntime()), ("int8_static", Openvino())],
)
def test_layers_are_told_of_int8_files_in_onnx_runtime_only(quantization: str, runtime: object) -> None:
    file = File(NOWHERE, quantization, NOWHERE, NOWHERE, Timer(runtime, "1", NOWHERE))

    assert located(file, "file", NOWHERE, NOWHERE, NOWHERE) == ()


def fastest(candidate: Candidate) -> Candidate:
    """The same, had it been ten times as fast."""
    speedup = replace(candidate.latency.speedup, median=10.0, low=9.0, high=11.0)
    return replace(candidate, latency=replace(candidate.latency, speedup=speedup))


def data(shared: int) -> prepare.Outputs:
    """Five validation pictures, so many of which are training pictures."""
    return prepare.Outputs(NOWHERE, ("box",), "polygons", 9, 5, 20, 10, val_in_train=shared)


def test_calibration_on_validation_pictures_is_refused_in_one_line() -> None:
    with pytest.raises(SpecError) as refusal:
        check_apart(data(shared=3), Int8Static())

    assert str(refusal.value) == (
        "dataset: 3 of 5 validation pictures are training pictures too, which int8_static calibrates on: split them "
        "anew, or take a quantization without calibration: fp16, fp32, int8_dynamic"
    )


@pytest.mark.parametrize("quantizer", [Fp32(), Fp16(), Int8Dynamic()], ids=lambda quantizer: quantizer.name)
def test_without_calibration_one_line_warns_of_them(quantizer: Quantizer, caplog: pytest.LogCaptureFixture) -> None:
    check_apart(data(shared=3), quantizer)

    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        "dataset: 3 of 5 validation pictures are training pictures too: whatever is pruned, healed or trained by them "
        "scores better than it is"
    )


def test_nothing_is_said_where_the_splits_are_apart(caplog: pytest.LogCaptureFixture) -> None:
    check_apart(data(shared=0), Int8Static())

    assert caplog.records == []


@pytest.mark.parametrize(
    ("mask_map", "unfound", "box_only", "kept_one"),
    [
        (0.30, 0, False, "tuned"),  # as good
        (0.29, 1, False, "tuned"),  # one picture of forty may be chance
        (0.25, 10, False, "pruned"),
        (0.29, 10, True, "pruned"),  # boxes tell that it is worse
        (0.31, 10, True, "tuned"),  # what budgets speak of has gained
    ],
)
def test_a_training_is_kept_unless_it_scores_less_and_finds_measurably_less(
    mask_map: float, unfound: int, box_only: bool, kept_one: str, tmp_path: Path
) -> None:
    worse = without(unfound)
    found = replace(worse, mask=SURE.mask) if box_only else worse
    pruned, tuned = (
        Net(NOWHERE, NOWHERE, Accuracy(0.4, 0.4, score, score, 40, "nobody"), kept(matches, tmp_path, name))
        for name, score, matches in (("pruned", 0.30, SURE), ("tuned", mask_map, found))
    )
    stage = Runner(Tools(NOWHERE, NOWHERE, NOWHERE, no_progress), Store(tmp_path / "store"), ())

    assert (
        kept_net(tuned, pruned, TWO, 1, check(["model=yolov8n_seg"]), stage)
        is {"pruned": pruned, "tuned": tuned}[kept_one]
    )


def test_a_net_that_was_not_trained_is_kept_and_compared_with_nothing() -> None:
    net = Net(NOWHERE, NOWHERE, NOWHERE, NOWHERE)

    assert kept_net(net, net, TWO, 1, NOWHERE, NOWHERE) is net
