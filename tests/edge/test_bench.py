import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from secateur.edge.bench import Timing, compare, measure, paired_speedup, percentiles
from secateur.errors import ExportError
from secateur.results import Interval, Latency, Percentiles
from secateur.runtimes.onnxruntime import Onnxruntime

RUNTIME = Onnxruntime(threads=1)
TIMING = Timing((1.0,), load_seconds=0.1, peak_memory_mb=None, runtime_version="1", threads=1, imgsz=64)


def timings(*rounds: list[float]) -> list[Timing]:
    return [replace(TIMING, samples_ms=tuple(samples)) for samples in rounds]


def compare_with_short(models: dict[str, Path], rounds: int) -> dict[str, Latency]:
    return compare(models, "short", RUNTIME, rounds, seconds=0.2, warmup_seconds=0.1, progress=lambda done, total: None)


# ---- what follows from the samples --------------------------------------------------------------


def test_percentiles_are_those_of_all_samples() -> None:
    assert percentiles(np.arange(101.0)) == Percentiles(p50=50.0, p90=90.0, p95=95.0, p99=99.0)


def test_a_speed_up_is_the_median_of_the_ratios_of_each_round() -> None:
    baseline, own = timings([8.0] * 5, [12.0] * 5, [40.0] * 5), timings([4.0] * 5, [4.0] * 5, [10.0] * 5)

    assert paired_speedup(own, baseline) == Interval(median=3.0, low=2.0, high=4.0)  # ratios 2, 3, 4


def test_a_device_that_slows_down_between_rounds_does_not_move_the_speed_up() -> None:
    baseline, own = timings([10.0] * 9, [30.0] * 9), timings([5.0] * 9, [15.0] * 9)

    assert paired_speedup(own, baseline) == Interval(2.0, 2.0, 2.0)


def test_samples_that_scatter_within_a_round_widen_the_interval() -> None:
    steady, scattered = timings([10.0] * 9), timings([4.0, 5.0, 5.0, 9.0, 10.0, 11.0, 16.0, 18.0, 20.0])

    interval = paired_speedup(scattered, steady)

    assert interval.low < interval.median == 1.0 < interval.high


def test_the_same_samples_give_the_same_interval() -> None:
    baseline, own = timings([1.0, 2.0, 3.0], [2.0, 2.5, 4.0]), timings([1.0, 1.5, 2.0], [1.0, 1.1, 1.3])

    assert paired_speedup(own, baseline) == paired_speedup(own, baseline)


# ---- measuring ----------------------------------------------------------------------------------


def test_a_measurement_says_what_was_measured(short_model: Path) -> None:
    timing = measure(short_model, RUNTIME, seconds=0.1, warmup_seconds=0.0)

    assert timing.runtime_version == RUNTIME.version()
    assert (timing.threads, timing.imgsz) == (1, 64)
    assert sum(timing.samples_ms) <= 1000
    assert min(timing.samples_ms) > 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process its own peak memory")
def test_peak_memory_is_the_childs_own_and_not_its_parents(short_model: Path) -> None:
    ballast = bytearray(b"x") * 500_000_000

    timing = measure(short_model, RUNTIME, seconds=0.01, warmup_seconds=0.0)

    assert len(ballast) == 500_000_000
    assert timing.peak_memory_mb is not None
    assert 10 < timing.peak_memory_mb < 400


def test_a_model_is_as_fast_as_its_copy(short_model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copyfile(short_model, tmp_path / "copy.onnx"))

    speedup = compare_with_short({"short": short_model, "copy": copy}, rounds=3)["copy"].speedup

    assert speedup.low <= speedup.median <= speedup.high
    assert 0.4 < speedup.median < 2.5  # machines that run tests are busy


def test_eight_times_the_work_is_slower(short_model: Path, long_model: Path) -> None:
    latencies = compare_with_short({"short": short_model, "long": long_model}, rounds=2)

    assert latencies["long"].speedup.median < 0.7
    assert latencies["long"].ms.p50 > latencies["short"].ms.p50


def test_the_baseline_is_exactly_as_fast_as_itself(short_model: Path, long_model: Path) -> None:
    latency = compare_with_short({"long": long_model, "short": short_model}, rounds=2)["short"]

    assert latency.speedup == Interval(1.0, 1.0, 1.0)
    assert (latency.rounds, latency.runtime, latency.imgsz) == (2, "onnxruntime", 64)


def test_progress_counts_every_measurement(short_model: Path, long_model: Path) -> None:
    seen: list[tuple[int, int]] = []
    models = {"short": short_model, "long": long_model}

    compare(models, "short", RUNTIME, 2, 0.01, 0.0, progress=lambda done, total: seen.append((done, total)))

    assert seen == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_file_that_cannot_be_measured_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"not a model")

    with pytest.raises(ExportError, match=r"measuring .*broken\.onnx failed: ONNX Runtime cannot open") as error:
        measure(tmp_path / "broken.onnx", RUNTIME, seconds=0.01, warmup_seconds=0.0)

    assert "\n" not in str(error.value)


def test_what_goes_to_the_device_imports_no_training_stack() -> None:
    heavy = "{'torch', 'torchvision', 'ultralytics', 'torch_pruning', 'mlflow', 'hydra', 'omegaconf', 'onnx', 'cv2'}"
    edge = "import secateur.edge.bench, secateur.edge.letterbox, secateur.edge.fingerprint"
    code = (
        f"{edge}, secateur.runtimes.onnxruntime as o, sys; o.Onnxruntime().version(); print({heavy} & set(sys.modules))"
    )

    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert printed.strip() == "set()"
