import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from secateur.errors import ExportError
from secateur.runtimes.onnxruntime import Onnxruntime


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


def test_fewer_than_no_threads_are_refused() -> None:
    with pytest.raises(ValueError, match=r"threads must be 0 .* got -1"):
        Onnxruntime(threads=-1)


def test_a_missing_file_is_told_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"no model file .*gone\.onnx"):
        Onnxruntime().open(tmp_path / "gone.onnx")


def test_a_broken_file_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"not a model")

    with pytest.raises(ExportError, match=r"cannot open .*broken\.onnx") as error:
        Onnxruntime().open(tmp_path / "broken.onnx")

    assert "\n" not in str(error.value)


def test_a_provider_that_is_not_there_is_told_with_those_that_are(doubling: Path) -> None:
    with pytest.raises(ExportError, match=r"no provider 'FooExecutionProvider' here; there are .*CPUExecutionProvider"):
        Onnxruntime(provider="FooExecutionProvider").open(doubling)


def test_the_part_is_imported_without_its_library() -> None:
    code = "import secateur.runtimes.onnxruntime, sys; print('onnxruntime' in sys.modules)"

    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert printed.strip() == "False"
