from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

from secateur.quantizers.fp16 import Fp16
from secateur.runtimes.onnxruntime import Onnxruntime

FLOAT, FLOAT16 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16


@pytest.fixture(scope="session")
def fp16_onnx(yolo_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fp16") / "fp16.onnx"
    Fp16().quantize(yolo_onnx, (), out)
    return out


def test_the_fp16_file_is_valid(fp16_onnx: Path) -> None:
    onnx.checker.check_model(fp16_onnx, full_check=True)


def test_the_fp16_file_is_half_of_the_original(yolo_onnx: Path, fp16_onnx: Path) -> None:
    assert fp16_onnx.stat().st_size == pytest.approx(yolo_onnx.stat().st_size / 2, rel=0.02)


def test_every_convolution_but_the_decodes_has_fp16_weights(fp16_onnx: Path) -> None:
    graph = onnx.load(fp16_onnx).graph
    kinds = {weights.name: weights.data_type for weights in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type in ("Conv", "ConvTranspose")]

    assert Counter(kinds[node.input[1]] for node in convolutions) == {FLOAT16: len(convolutions) - 1, FLOAT: 1}  # DFL


def test_a_net_in_fp16_takes_and_gives_fp32(yolo_onnx: Path, fp16_onnx: Path) -> None:
    original, halved = (onnx.load(path).graph for path in (yolo_onnx, fp16_onnx))

    assert list(halved.input) == list(original.input)
    assert list(halved.output) == list(original.output)


def test_only_the_picture_and_the_last_convolutions_are_cast(fp16_onnx: Path) -> None:
    graph = onnx.load(fp16_onnx).graph
    makers = {output: node.op_type for node in graph.node for output in node.output}
    cast = {node.input[0] for node in graph.node if node.op_type == "Cast"}  # by some versions once for each reader

    # boxes, classes and mask coefficients on three scales, the prototypes; nothing of the decode goes to FP16 and back
    assert Counter(makers.get(tensor, "picture") for tensor in cast) == {"picture": 1, "Conv": 10}


def test_a_net_in_fp16_answers_nearly_as_the_original(yolo_onnx: Path, fp16_onnx: Path, pictures: list) -> None:
    original, halved = (Onnxruntime().open(path).run(pictures[0]) for path in (yolo_onnx, fp16_onnx))

    for exact, rounded in zip(original, halved, strict=True):
        assert rounded.dtype == np.float32
        assert np.abs(rounded - exact).mean() < 0.001 * np.abs(exact).mean()


def test_box_coordinates_are_finer_than_fp16_has_them(yolo_onnx: Path, fp16_onnx: Path, pictures: list) -> None:
    original, halved = (Onnxruntime().open(path).run(pictures[0])[0] for path in (yolo_onnx, fp16_onnx))

    assert np.abs(halved[:, :4] - original[:, :4]).max() < 0.01  # pixels; of 96, FP16 moves by 0.0625


def test_the_same_net_gives_the_same_bytes(yolo_onnx: Path, fp16_onnx: Path, tmp_path: Path) -> None:
    Fp16().quantize(yolo_onnx, (), tmp_path / "again.onnx")

    assert (tmp_path / "again.onnx").read_bytes() == fp16_onnx.read_bytes()
