"""What holds for every runtime, on a net as this project exports it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from secateur import plugins
from secateur.app import commands
from secateur.edge import bench
from secateur.errors import ExportError, SpecError
from secateur.ports import ConvertingRuntime
from secateur.runtimes.onnxruntime import Onnxruntime
from secateur.specs import Benchmark
from tests.conftest import IMGSZ

FP32 = 1e-4  # of an output's range: what the order of additions makes of it
ALONE = """
import sys, time
from pathlib import Path
import numpy as np
from secateur import plugins

session = plugins.load("runtime", sys.argv[1])(threads=1).open(Path(sys.argv[2]))
picture = np.zeros(session.input_shape, np.float32)
session.run(picture)
started, busy = time.perf_counter(), time.process_time()
while time.perf_counter() - started < 0.5:
    session.run(picture)
print((time.process_time() - busy) / (time.perf_counter() - started))
"""


@pytest.fixture(scope="session", params=plugins.names("runtime"))
def runtime(request: pytest.FixtureRequest) -> Any:
    try:
        return commands.check([f"runtime={request.param}", "quantization=fp32", "runtime.threads=1"]).runtime
    except SpecError as missing:
        if "pip install" not in str(missing):
            raise
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def model(runtime: Any, seg_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The net in the runtime's own format."""
    if not isinstance(runtime, ConvertingRuntime):
        return seg_onnx
    out = tmp_path_factory.mktemp(runtime.name) / "model"
    runtime.convert(seg_onnx, out)
    return out


@pytest.fixture(scope="session")
def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.random((1, 3, IMGSZ, IMGSZ), np.float32) for _ in range(2)]


def test_it_gives_what_onnx_runtime_gives_in_fp32(
    runtime: Any, model: Path, seg_onnx: Path, pictures: list[np.ndarray]
) -> None:
    session, reference = runtime.open(model), Onnxruntime().open(seg_onnx)

    for picture in pictures:
        for given, wanted in zip(session.run(picture), reference.run(picture), strict=True):
            assert (given.shape, given.dtype) == (wanted.shape, np.float32)
            assert np.abs(given - wanted).max() < FP32 * np.ptp(wanted)


def test_the_same_picture_gives_the_same_to_the_bit(runtime: Any, model: Path, pictures: list[np.ndarray]) -> None:
    session = runtime.open(model)

    first, _, again = (session.run(picture) for picture in (pictures[0], pictures[1], pictures[0]))

    assert all(np.array_equal(*pair) for pair in zip(first, again, strict=True))


def test_what_a_pass_gave_is_not_touched_by_the_next(runtime: Any, model: Path, pictures: list[np.ndarray]) -> None:
    session = runtime.open(model)
    first = session.run(pictures[0])
    before = [output.copy() for output in first]

    session.run(pictures[1])

    assert all(np.array_equal(*pair) for pair in zip(first, before, strict=True))


def test_a_picture_is_left_as_it_was(runtime: Any, model: Path, pictures: list[np.ndarray]) -> None:
    before = pictures[0].copy()

    runtime.open(model).run(pictures[0])

    assert np.array_equal(pictures[0], before)


def test_a_picture_that_does_not_lie_in_one_piece_is_read_right(
    runtime: Any, model: Path, pictures: list[np.ndarray]
) -> None:
    session = runtime.open(model)
    turned = pictures[0].transpose(0, 1, 3, 2)  # a view

    given, wanted = session.run(turned), session.run(np.ascontiguousarray(turned))

    assert all(np.array_equal(*pair) for pair in zip(given, wanted, strict=True))


def test_a_session_tells_the_shape_it_takes_and_what_the_file_says_of_itself(
    runtime: Any, model: Path, seg_onnx: Path
) -> None:
    session, reference = runtime.open(model), Onnxruntime().open(seg_onnx)

    assert session.input_shape == (1, 3, IMGSZ, IMGSZ)
    assert dict(session.metadata) == dict(reference.metadata)
    assert session.metadata["task"] == "segment"


def missing(model: Path, spoilt: Path) -> None:
    """Nothing is there."""


def no_model(model: Path, spoilt: Path) -> None:
    """As much as there was, of something else."""
    for path in sorted(model.rglob("*")) if model.is_dir() else [model]:
        copy = spoilt / path.relative_to(model)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(b"not a model" * (path.stat().st_size // 11))


def cut_off(model: Path, spoilt: Path) -> None:
    """The first half of each file."""
    for path in sorted(model.rglob("*")) if model.is_dir() else [model]:
        copy = spoilt / path.relative_to(model)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("spoil", [missing, no_model, cut_off])
def test_a_file_that_cannot_be_opened_is_told_in_one_line(
    spoil: Callable[[Path, Path], None], runtime: Any, model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spoil(model, tmp_path / model.name)

    with pytest.raises(ExportError) as refusal:
        runtime.open(tmp_path / model.name)

    assert str(tmp_path / model.name) in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert capfd.readouterr() == ("", "")


def test_one_thread_keeps_one_core_busy_and_nothing_is_said_or_left(runtime: Any, model: Path, tmp_path: Path) -> None:
    for folder in ("home", "work"):
        (tmp_path / folder).mkdir()

    done = subprocess.run(
        [sys.executable, "-c", ALONE, runtime.name, str(model)],
        cwd=tmp_path / "work",
        env=os.environ | {"HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert float(done.stdout) < 1.15  # cores
    assert [*tmp_path.glob("home/*"), *tmp_path.glob("work/*")] == []


def test_the_benchmark_times_it(runtime: Any, model: Path) -> None:
    plan = Benchmark(rounds=2, seconds=0.05, warmup_seconds=0.0)

    latency = bench.compare({"it": bench.Contender(model, runtime)}, "it", plan, lambda *_: None)["it"]

    assert (latency.threads, latency.imgsz, latency.runtime_version) == (1, IMGSZ, runtime.version())
    assert latency.ms.p50 > 0


@pytest.mark.parametrize("fields", [{"threads": -1}, {"round_to": 0}])
def test_settings_out_of_range_are_refused(fields: dict[str, int], runtime: Any) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(fields))} must be .* got"):
        type(runtime)(**fields)


def test_the_part_is_imported_without_its_library(runtime: Any) -> None:
    code = f"import secateur.runtimes.{runtime.name}, sys; print({runtime.name!r} in sys.modules)"

    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert printed.strip() == "False"
