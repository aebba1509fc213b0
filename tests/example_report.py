"""A small finished run with round numbers, for tests of everything that shows or stores reports."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from secateur.results import (
    BASELINE,
    Accuracy,
    AccuracyChange,
    Artifact,
    Candidate,
    Change,
    ClassChange,
    EndToEnd,
    Fingerprint,
    Footprint,
    Interval,
    Latency,
    LayerNoise,
    Percentiles,
    Rung,
    RunReport,
    Sample,
)

FULL = Footprint(params=3_410_000, macs=6_360_000_000)
HALF = Footprint(params=1_705_000, macs=3_180_000_000)


def accuracy(box: float, mask: float | None) -> Accuracy:
    return Accuracy(
        box_map50_95=box,
        box_map50=box + 0.2,
        mask_map50_95=mask,
        mask_map50=None if mask is None else mask + 0.2,
        images=202,
        evaluator="ultralytics 8.4.190",
    )


def spread(p50: float) -> Percentiles:
    return Percentiles(p50=p50, p90=p50 * 1.1, p95=p50 * 1.2, p99=p50 * 1.5)


def latency(p50: float, median: float, low: float, high: float) -> Latency:
    return Latency(
        ms=spread(p50),
        speedup=Interval(median=median, low=low, high=high),
        rounds=5,
        runtime="onnxruntime",
        runtime_version="1.23.2",
        threads=2,
        imgsz=640,
        batch=1,
        images_per_second=1000 / p50,
        load_seconds=0.2,
        peak_memory_mb=120.0,
        end_to_end=EndToEnd(spread(2.0), spread(2.5), spread(p50 + 4.9), Interval(median * 0.9, low * 0.9, high * 0.9)),
    )


def candidate(name: str, footprint: Footprint, scores: Accuracy, time: Latency, size_bytes: int) -> Candidate:
    return Candidate(
        name=name,
        runtime="onnxruntime",
        quantization="int8_static" if "int8" in name else "none",
        model=Artifact(path=Path("models") / f"{name}.onnx", sha256="ab" * 32),
        size_bytes=size_bytes,
        footprint=footprint,
        accuracy=scores,
        latency=time,
    )


def rungs() -> tuple[Rung, ...]:
    three_quarters = Footprint(params=2_557_500, macs=4_770_000_000)
    return (
        Rung(1, 0.25, 0.251, three_quarters, accuracy(0.300, 0.240), accuracy(0.400, 0.340), accepted=True),
        Rung(2, 0.5, 0.5, HALF, accuracy(0.210, 0.150), accuracy(0.380, 0.325), accepted=True),
        Rung(
            3, 0.6, 0.6, Footprint(1_364_000, 2_544_000_000), accuracy(0.1, 0.05), accuracy(0.31, 0.25), accepted=False
        ),
    )


CHANNELS = {"model.0.conv": (12, 16), "model.2.cv1.conv": (20, 32), "model.4.cv2.conv": (64, 64)}


def with_channels() -> RunReport:
    """The same run, which noted what each group keeps; the rejected rung keeps next to nothing."""
    first, second, rejected = rungs()
    scarce = {name: (4, width) for name, (_, width) in CHANNELS.items()}
    told = (first, replace(second, channels=CHANNELS), replace(rejected, channels=scarce))
    return replace(finished(), rungs=told)


CLASSES = (
    ClassChange("person", 210, 90, 0.402, 0.390, Change(-0.012, -0.020, -0.004)),
    ClassChange("zebra", 12, 4, 0.600, 0.640, Change(0.040, 0.010, 0.080)),
    ClassChange("cup", 34, 20, 0.300, 0.180, Change(-0.120, -0.190, -0.060)),
    ClassChange("chair", 51, 30, 0.251, 0.249, Change(-0.002, -0.015, 0.012)),
)


def with_classes(count: int = len(CLASSES)) -> RunReport:
    """The same run, which noted what each class changed by; of more than there are, some that lost little."""
    more = (ClassChange(f"class {n}", n, n, 0.3, 0.3 - n / 1000, Change(-n / 1000, -0.1, 0.1)) for n in range(4, count))
    found = (*CLASSES, *more)
    told = (c if c.name == BASELINE else replace(c, classes=found) for c in finished().candidates)
    return replace(finished(), candidates=tuple(told))


LAYERS = (
    LayerNoise("model.0.conv", 38.21, 38.21, kept_float=False),
    LayerNoise("model.2.cv1.conv", 19.94, 24.06, kept_float=False),
    LayerNoise("model.4.cv2.conv", -1.5, 12.3, kept_float=False),
    LayerNoise("model.22.cv3.0.2", 21.7, None, kept_float=True),
)


def with_layers(count: int = len(LAYERS)) -> RunReport:
    """The same run, which noted the noise of each layer of its INT8 files; more than there are have little."""
    more = (LayerNoise(f"model.{n}.conv", 40.0 + n, 50.0 + n, kept_float=False) for n in range(30, 26 + count))
    layers = (*LAYERS, *more)
    told = (replace(c, layers=layers) if "int8" in c.name else c for c in finished().candidates)
    return replace(finished(), candidates=tuple(told))


def with_samples(folder: Path) -> RunReport:
    """The same run, two grey pictures looked at by each file; they are written into the folder."""
    from PIL import Image

    drawn = folder / "sample.jpg"
    Image.new("RGB", (320, 240), "grey").save(drawn)
    found = ("2 person, 1 cup", "nothing")
    samples = tuple(Sample(f"{n}.jpg", told, Artifact(drawn, "ef" * 32)) for n, told in enumerate(found))
    told = tuple(replace(c, samples=samples) for c in finished().candidates)
    return replace(finished(), candidates=told)


def candidates() -> tuple[Candidate, ...]:
    loss, tie = Change(-0.033, -0.041, -0.025), Change(-0.011, -0.024, 0.003)
    return (
        candidate(BASELINE, FULL, accuracy(0.414, 0.351), latency(58.9, 1.0, 1.0, 1.0), 13_800_000),
        replace(
            candidate("baseline-int8_static", FULL, accuracy(0.403, 0.339), latency(35.9, 1.64, 1.61, 1.66), 3_700_000),
            accuracy_change=AccuracyChange(tie, tie),
        ),
        replace(
            candidate("pruned-fp32", HALF, accuracy(0.380, 0.325), latency(38.2, 1.54, 1.51, 1.57), 7_000_000),
            accuracy_change=AccuracyChange(loss, Change(-0.026, -0.034, -0.018)),
        ),
        replace(
            candidate("pruned-int8_static", HALF, accuracy(0.371, 0.318), latency(21.6, 2.73, 2.65, 2.8), 1_900_000),
            accuracy_change=AccuracyChange(Change(-0.043, -0.052, -0.034), loss),
        ),
    )


def on_the_way() -> RunReport:
    """The same, trained sparsely and with other activations before its first rung."""
    return replace(finished(), before_pruning={"sparse": accuracy(0.41, 0.35), "swapped": accuracy(0.3, 0.22)})


def finished() -> RunReport:
    return RunReport(
        id="2026-11-22_16-00-00_demo",
        name="demo",
        status="finished",
        seconds=754.0,
        spec={
            "name": "demo",
            "importance": {"name": "magnitude", "p": 2},
            "schedule": {"name": "linear", "target": 0.6, "steps": 3, "unit": "macs"},
            "finetune": {"epochs": 6, "cos_lr": True},
            "max_map_drop": 0.05,
            "imgsz": 640,
        },
        versions={"secateur": "0.1.0", "torch": "2.13.0", "onnxruntime": "1.23.2"},
        git="1a2b3c4",
        command="secateur run model=yolov8n-seg schedule.target=0.6",
        fingerprint=Fingerprint("x86_64", "Intel Xeon 8481C", 2, ("avx512_vnni", "amx_int8"), "Linux 6.1"),
        dataset={"name": "coco-subset", "digest": "cd" * 32, "train": 343, "val": 202},
        baseline_footprint=FULL,
        baseline=accuracy(0.414, 0.351),
        rungs=rungs(),
        candidates=candidates(),
        selected="pruned-int8_static",
        why="the fastest within 0.05 of the baseline's mask mAP",
    )


FAULT = "output0 is not finite (NaN or infinite) in all of its values"


def with_fault() -> RunReport:
    """The same run, one of its files of no use."""
    report = finished()
    faulty = (replace(c, fault=FAULT) if c.name == "baseline-int8_static" else c for c in report.candidates)
    return replace(report, candidates=tuple(faulty))


def failed() -> RunReport:
    report = finished()
    return replace(
        report, status="failed", error="finetune: no space left on device", candidates=(), selected=None, why=None
    )


def detector() -> RunReport:
    """The same run of a net without masks."""
    report = finished()
    return replace(
        report,
        baseline=_boxes(report.baseline) if report.baseline else None,
        rungs=tuple(replace(r, pruned=_boxes(r.pruned), tuned=_boxes(r.tuned)) for r in report.rungs),
        candidates=tuple(map(_without_masks, report.candidates)),
    )


def without_changes() -> RunReport:
    """The same run, its accuracies not paired."""
    report = finished()
    return replace(report, candidates=tuple(replace(c, accuracy_change=None) for c in report.candidates))


def _without_masks(found: Candidate) -> Candidate:
    changes = found.accuracy_change and replace(found.accuracy_change, mask_map50_95=None)
    return replace(found, accuracy=_boxes(found.accuracy), accuracy_change=changes)


def _boxes(scores: Accuracy) -> Accuracy:
    return replace(scores, mask_map50_95=None, mask_map50=None)
