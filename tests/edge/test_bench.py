import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from secateur.edge import bench
from secateur.edge.bench import Contender, Opened, Timing, Turn, compare, orders, paired_speedup, percentiles
from secateur.errors import ExportError
from secateur.results import QUANTILES, Interval, Latency, Percentiles
from secateur.runtimes.onnxruntime import Onnxruntime
from secateur.specs import Benchmark

RUNTIME = Onnxruntime(threads=1)
OPENED = Opened(0.1, peak_memory_mb=None, runtime_version="1", threads=1, input_shape=(1, 3, 64, 64))


def timings(*rounds: list[float]) -> list[Timing]:
    """Of rounds with one turn each."""
    return [Timing(OPENED, (Turn(tuple(samples)),)) for samples in rounds]


def timed(
    models: dict[str, Path], baseline: str, rounds: int = 2, runtime: Onnxruntime = RUNTIME
) -> dict[str, Latency]:
    contenders = {name: Contender(model, runtime) for name, model in models.items()}
    return compare(contenders, baseline, Benchmark(rounds, seconds=0.2, warmup_seconds=0.1), lambda *_: None)


# ---- what follows from the samples --------------------------------------------------------------


def test_percentiles_are_those_of_all_samples() -> None:
    assert percentiles(np.arange(101.0)) == Percentiles(p50=50.0, p90=90.0, p95=95.0, p99=99.0)


def test_a_speed_up_is_the_median_of_the_ratios_of_each_round() -> None:
    baseline, own = timings([8.0] * 5, [12.0] * 5, [40.0] * 5), timings([4.0] * 5, [4.0] * 5, [10.0] * 5)

    assert paired_speedup(own, baseline) == Interval(median=3.0, low=2.0, high=4.0)  # ratios 2, 3, 4


def test_a_device_that_slows_down_between_rounds_does_not_move_the_speed_up() -> None:
    baseline, own = timings([10.0] * 9, [30.0] * 9), timings([5.0] * 9, [15.0] * 9)

    assert paired_speedup(own, baseline) == Interval(2.0, 2.0, 2.0)


def test_turns_that_scatter_within_a_round_widen_the_interval() -> None:
    steady = [Timing(OPENED, (Turn((10.0,)), Turn((10.0,)), Turn((10.0,))))] * 3
    scattered = [Timing(OPENED, (Turn((8.0,)), Turn((10.0,)), Turn((13.0,))))] * 3

    interval = paired_speedup(scattered, steady)

    assert interval.low < interval.median == 1.0 < interval.high


def test_a_device_that_slows_down_within_a_round_does_not_move_the_speed_up() -> None:
    baseline = [Timing(OPENED, (Turn((10.0,)), Turn((30.0,))))] * 2
    own = [Timing(OPENED, (Turn((5.0,)), Turn((15.0,))))] * 2

    assert paired_speedup(own, baseline) == Interval(2.0, 2.0, 2.0)


def test_the_same_samples_give_the_same_interval() -> None:
    baseline, own = timings([1.0, 2.0, 3.0], [2.0, 2.5, 4.0]), timings([1.0, 1.5, 2.0], [1.0, 1.1, 1.3])

    assert paired_speedup(own, baseline) == paired_speedup(own, baseline)


@pytest.mark.slow
def test_a_95_percent_interval_holds_the_true_speed_up_93_to_97_percent_of_the_time() -> None:
    # simulated: the ratio is 1, and both rounds and turns scatter by 2 %, as measured on a shared machine
    chance, held, times = np.random.default_rng(0), 0, 1000
    for _ in range(times):
        ratios = np.exp(chance.normal(0, 0.02, (6, 1)) + chance.normal(0, 0.02, (6, 5)))
        own = [Timing(OPENED, tuple(Turn((1 / ratio,)) for ratio in row)) for row in ratios.tolist()]
        found = paired_speedup(own, [Timing(OPENED, (Turn((1.0,)),) * 5)] * 6)
        held += found.low <= 1 <= found.high

    assert 0.93 <= held / times <= 0.97


@pytest.mark.parametrize("names", [["a", "b"], ["a", "b", "c"]])
def test_no_file_follows_the_same_one_always(names: list[str]) -> None:
    turns = [turn for number in range(6) for turn in orders(names, number)]

    assert all(sorted(turn) == names for turn in turns)
    followers = {(first, second) for turn in turns for first, second in pairwise(turn)}
    assert followers == {(first, second) for first in names for second in names if first != second}


# ---- measuring ----------------------------------------------------------------------------------


def test_a_latency_says_what_was_measured(short_model: Path) -> None:
    latency = timed({"short": short_model}, "short")["short"]

    assert (latency.runtime, latency.runtime_version) == ("onnxruntime", RUNTIME.version())
    assert (latency.rounds, latency.threads, latency.imgsz, latency.batch) == (2, 1, 64, 1)
    assert 0 < latency.ms.p50 <= latency.ms.p99
    assert 500 / latency.ms.p99 < latency.images_per_second < 1000 / latency.ms.p50 * 2
    assert 0 < latency.load_seconds < 30


def test_an_open_file_is_timed_with_what_it_was_exported_for(short_model: Path, tmp_path: Path) -> None:
    net = onnx.load(short_model)
    for entry in (*net.graph.input, *net.graph.output):
        for side, name in ((0, "batch"), (2, "height"), (3, "width")):
            entry.type.tensor_type.shape.dim[side].dim_param = name
    for key, value in (("batch", "2"), ("imgsz", "[32, 32]")):
        net.metadata_props.add(key=key, value=value)
    onnx.save(net, tmp_path / "open.onnx")

    latency = timed({"open": tmp_path / "open.onnx"}, "open")["open"]

    assert (latency.batch, latency.imgsz) == (2, 32)
    assert 1000 / latency.ms.p99 < latency.images_per_second < 2000 / latency.ms.p50 * 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process its own peak memory")
def test_peak_memory_is_the_childs_own_and_not_its_parents(short_model: Path) -> None:
    ballast = bytearray(b"x") * 500_000_000

    latency = timed({"short": short_model}, "short")["short"]

    assert len(ballast) == 500_000_000
    assert latency.peak_memory_mb is not None
    assert 10 < latency.peak_memory_mb < 400


def test_a_model_is_as_fast_as_its_copy(short_model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copyfile(short_model, tmp_path / "copy.onnx"))

    speedup = timed({"short": short_model, "copy": copy}, "short", rounds=3)["copy"].speedup

    assert speedup.low <= speedup.median <= speedup.high
    assert 0.6 < speedup.median < 1.7  # machines that run tests are busy


def test_eight_times_the_work_is_slower(short_model: Path, long_model: Path) -> None:
    latencies = timed({"short": short_model, "long": long_model}, "short")

    assert latencies["long"].speedup.median < 0.7
    assert latencies["long"].ms.p50 > latencies["short"].ms.p50


def test_quantiles_rise_and_are_those_of_the_same_passes_as_the_percentiles(short_model: Path) -> None:
    latency = timed({"short": short_model}, "short")["short"]

    found = dict(zip(QUANTILES, latency.quantiles, strict=True))
    assert list(latency.quantiles) == sorted(latency.quantiles)
    assert (found[50], found[90], found[95]) == (latency.ms.p50, latency.ms.p90, latency.ms.p95)


def test_the_baseline_is_exactly_as_fast_as_itself(short_model: Path, long_model: Path) -> None:
    assert timed({"long": long_model, "short": short_model}, "short")["short"].speedup == Interval(1.0, 1.0, 1.0)


def test_files_are_timed_in_runtimes_of_their_own(short_model: Path) -> None:
    contenders = {f"{n} threads": Contender(short_model, Onnxruntime(threads=n)) for n in (1, 2)}

    latencies = compare(contenders, "1 threads", Benchmark(2, seconds=0.1, warmup_seconds=0.1), lambda *_: None)

    assert {name: latency.threads for name, latency in latencies.items()} == {"1 threads": 1, "2 threads": 2}


def test_progress_counts_every_round(short_model: Path) -> None:
    seen: list[tuple[int, int]] = []
    plan = Benchmark(2, seconds=0.01, warmup_seconds=0.0)

    compare({"short": Contender(short_model, RUNTIME)}, "short", plan, lambda done, total: seen.append((done, total)))

    assert seen == [(0, 2), (1, 2), (2, 2)]


def test_a_file_that_cannot_be_measured_is_told_in_one_line(short_model: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"not a model")

    with pytest.raises(ExportError, match=r"measuring .*broken\.onnx failed: ONNX Runtime cannot open") as error:
        timed({"short": short_model, "broken": tmp_path / "broken.onnx"}, "short")

    assert "\n" not in str(error.value)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_no_process_is_left_behind(short_model: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"not a model")
    before = _children(os.getpid())

    with pytest.raises(ExportError):
        timed({"short": short_model, "broken": tmp_path / "broken.onnx"}, "short")

    assert _children(os.getpid()) == before


def test_no_end_waits_for_the_limit_of_an_answer_that_was_interrupted_as_it_began(
    short_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(threading.Timer):
        def start(self) -> None:
            super().start()
            raise KeyboardInterrupt

    monkeypatch.setattr(bench, "Timer", Interrupted)
    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt):
        timed({"a": short_model}, "a")

    assert [thread for thread in set(threading.enumerate()) - before if not thread.daemon] == []


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_parent_that_is_killed_takes_its_processes_along(short_model: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from secateur.edge.bench import *; from secateur.specs import Benchmark;"
        "from secateur.runtimes.onnxruntime import Onnxruntime;"
        "it = {'it': Contender(Path(sys.argv[1]), Onnxruntime(threads=1))};"
        "compare(it, 'it', Benchmark(1000, 1.0, 0.1), lambda *_: None)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(short_model)])
    child = _soon(lambda: next(iter(_children(parent.pid)), None))

    parent.kill()
    parent.wait()

    assert _soon(lambda: not Path(f"/proc/{child}").exists())


def _children(process: int) -> list[str]:
    return Path(f"/proc/{process}/task/{process}/children").read_text().split()


def _soon(happens: Callable[[], Any]) -> Any:
    """What it gives as soon as that is anything."""
    for _ in range(600):
        if given := happens():
            return given
        time.sleep(0.1)
    raise AssertionError("it did not happen in a minute")


def test_what_goes_to_the_device_imports_no_training_stack() -> None:
    heavy = "{'torch', 'torchvision', 'ultralytics', 'torch_pruning', 'mlflow', 'hydra', 'omegaconf', 'onnx', 'cv2'}"
    edge = "import secateur.edge.bench, secateur.edge.letterbox, secateur.edge.fingerprint"
    code = (
        f"{edge}, secateur.runtimes.onnxruntime as o, sys; o.Onnxruntime().version(); print({heavy} & set(sys.modules))"
    )

    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert printed.strip() == "set()"
