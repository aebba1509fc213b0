from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from secateur.errors import ExportError, SpecError
from secateur.runtimes.onnxruntime import Onnxruntime

GPU = ["TensorrtExecutionProvider", "CUDAExecutionProvider"]


@pytest.fixture
def doubling(tmp_path: Path) -> Path:
    """Adds a picture to itself."""
    images, output = (
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, (1, 3, 32, 64)) for name in ("images", "output0")
    )
    graph = helper.make_graph(
        [helper.make_node("Add", ["images", "images"], ["output0"])], "double", [images], [output]
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def test_a_session_runs_the_model(doubling: Path) -> None:
    image = np.random.default_rng(0).random((1, 3, 32, 64), np.float32)

    (output,) = Onnxruntime().open(doubling).run(image)

    assert np.array_equal(output, image * 2)


def test_a_session_tells_the_shape_it_takes(doubling: Path) -> None:
    assert Onnxruntime().open(doubling).input_shape == (1, 3, 32, 64)


def test_zero_threads_mean_all_cores(doubling: Path) -> None:
    assert Onnxruntime(threads=0).open(doubling).run(np.zeros((1, 3, 32, 64), np.float32))


def test_a_provider_that_is_not_there_is_told_with_those_that_are(doubling: Path) -> None:
    line = r"^runtime.provider: this ONNX Runtime has no 'FooExecutionProvider'; there are .*CPUExecutionProvider"

    with pytest.raises(SpecError, match=line):
        Onnxruntime(provider="FooExecutionProvider").open(doubling)


@pytest.fixture
def asked(doubling: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What providers ONNX Runtime was asked for, by a build for GPUs whose libraries are missing: it goes on with the
    CPU, and raises nothing."""
    session = onnxruntime.InferenceSession(doubling, providers=["CPUExecutionProvider"])
    asked: list[Any] = []

    def open_on_cpu(*arguments: Any, providers: list[Any]) -> Any:
        asked.append(providers)
        return session

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [*GPU, "CPUExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", open_on_cpu)
    return asked


@pytest.mark.parametrize("provider", GPU)
def test_a_provider_that_does_not_start_is_told(provider: str, doubling: Path, asked: list[Any]) -> None:
    with pytest.raises(ExportError, match=rf"^'{provider}' could not start for .*m\.onnx; its libraries or its device"):
        Onnxruntime(provider=provider).open(doubling)


def test_what_tensorrt_does_not_take_goes_to_cuda_before_the_cpu(doubling: Path, asked: list[Any]) -> None:
    with pytest.raises(ExportError):
        Onnxruntime(provider=GPU[0], provider_options={"trt_fp16_enable": 1}).open(doubling)

    assert asked == [[(GPU[0], {"trt_fp16_enable": "1"}), (GPU[1], {})]]


def test_options_that_the_cpu_would_take_no_notice_of_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"^provider_options must be empty with CPUExecutionProvider, .* got .*device_id"
    ):
        Onnxruntime(provider_options={"device_id": 1})
