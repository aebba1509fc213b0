from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

from secateur.quantizers.int8_dynamic import Int8Dynamic
from secateur.runtimes.onnxruntime import Onnxruntime


@pytest.fixture(scope="session")
def dynamic_onnx(yolo_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dynamic") / "int8.onnx"
    Int8Dynamic().quantize(yolo_onnx, (), out)
    return out


def test_the_dynamic_file_is_valid(dynamic_onnx: Path) -> None:
    onnx.checker.check_model(dynamic_onnx, full_check=True)


def test_the_dynamic_file_is_about_a_quarter_of_the_original(yolo_onnx: Path, dynamic_onnx: Path) -> None:
    assert 0.24 < dynamic_onnx.stat().st_size / yolo_onnx.stat().st_size < 0.29


def test_every_convolution_but_the_last_ones_is_on_integers(dynamic_onnx: Path) -> None:
    operators = Counter(node.op_type for node in onnx.load(dynamic_onnx).graph.node)

    assert operators["ConvInteger"] == 65
    assert operators["Conv"] == 11  # box, class and mask coefficients on three scales; the prototypes; the DFL
    assert operators["ConvTranspose"] == 1  # ONNX has none on integers


def test_the_dynamic_net_answers_nearly_as_the_original(yolo_onnx: Path, dynamic_onnx: Path, pictures: list) -> None:
    original, quantized = (Onnxruntime().open(path).run(pictures[0]) for path in (yolo_onnx, dynamic_onnx))

    for exact, rounded in zip(original, quantized, strict=True):
        assert rounded.shape == exact.shape
        assert np.abs(rounded - exact).mean() < 0.05 * np.abs(exact).mean()


def test_dynamic_quantization_gives_the_same_bytes_again_and_leaves_nothing_else(
    yolo_onnx: Path, dynamic_onnx: Path, tmp_path: Path
) -> None:
    Int8Dynamic().quantize(yolo_onnx, (), tmp_path / "int8.onnx")

    assert (tmp_path / "int8.onnx").read_bytes() == dynamic_onnx.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["int8.onnx"]
