from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from secateur.errors import ExportError
from secateur.quantizers.fp16 import Fp16
from secateur.quantizers.int8_dynamic import Int8Dynamic
from secateur.quantizers.int8_static import Int8Static

QUANTIZERS = [Fp16(), Int8Dynamic(), Int8Static()]


def convolution(opset: int) -> onnx.ModelProto:
    weights = numpy_helper.from_array(np.ones((2, 3, 1, 1), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], "conv", kernel_shape=[1, 1])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 4, 4])],
        [weights],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


@pytest.mark.parametrize("quantizer", QUANTIZERS, ids=lambda quantizer: quantizer.name)
def test_an_opset_without_scales_by_channel_is_refused(
    quantizer: Fp16 | Int8Dynamic | Int8Static, tmp_path: Path
) -> None:
    onnx.save(convolution(12), tmp_path / "net.onnx")

    with pytest.raises(ExportError, match="its opset is 12, and weights quantized by channel need 13; export it anew"):
        quantizer.quantize(tmp_path / "net.onnx", iter(()), tmp_path / "out.onnx")


@pytest.mark.parametrize("quantizer", QUANTIZERS, ids=lambda quantizer: quantizer.name)
def test_a_truncated_file_is_told_by_its_path(
    quantizer: Fp16 | Int8Dynamic | Int8Static, yolo_onnx: Path, tmp_path: Path
) -> None:
    (tmp_path / "net.onnx").write_bytes(yolo_onnx.read_bytes()[:100_000])

    with pytest.raises(ExportError, match=r"cannot read .*net\.onnx"):
        quantizer.quantize(tmp_path / "net.onnx", iter(()), tmp_path / "out.onnx")


@pytest.mark.parametrize("quantizer", QUANTIZERS, ids=lambda quantizer: quantizer.name)
def test_metadata_need_not_be_there(
    quantizer: Fp16 | Int8Dynamic | Int8Static, yolo_onnx: Path, pictures: list, tmp_path: Path
) -> None:
    net = onnx.load(yolo_onnx)
    del net.metadata_props[:]
    onnx.save(net, tmp_path / "net.onnx")

    quantizer.quantize(tmp_path / "net.onnx", iter(pictures), tmp_path / "out.onnx")

    onnx.checker.check_model(tmp_path / "out.onnx")
