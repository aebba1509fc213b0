from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, numpy_helper

from secateur.errors import ExportError
from secateur.quantizers.fp16 import Fp16
from secateur.quantizers.int8_dynamic import Int8Dynamic
from secateur.quantizers.int8_static import Int8Static

QUANTIZERS = [Fp16(), Int8Dynamic(), Int8Static()]


def older(net: onnx.ModelProto) -> None:
    net.opset_import[0].version = 12


def dynamic(net: onnx.ModelProto) -> None:
    net.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"


def halved(net: onnx.ModelProto) -> None:
    for weights in net.graph.initializer:
        if weights.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(weights).astype("float16")
            weights.CopyFrom(numpy_helper.from_array(values, weights.name))


def quantized(net: onnx.ModelProto) -> None:
    net.graph.node[0].op_type = "QuantizeLinear"


@pytest.mark.parametrize("quantizer", QUANTIZERS, ids=lambda quantizer: quantizer.name)
@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (older, "its opset is 12, and weights quantized by channel need 13"),
        (dynamic, "the shape of its input 'images' is dynamic"),
        (halved, "its weights have 16 bits already"),
        (quantized, "it is quantized already"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_file_that_cannot_be_quantized_is_refused_with_the_reason(
    quantizer: Fp16 | Int8Dynamic | Int8Static, spoil: Callable, why: str, yolo_onnx: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    net = onnx.load(yolo_onnx)
    spoil(net)
    onnx.save(net, tmp_path / "net.onnx")
    monkeypatch.setattr(onnx.checker, "check_model", lambda net: None)  # what is spoilt here alone would not pass it

    with pytest.raises(ExportError, match=f"cannot quantize .*: {why}; export it anew"):
        quantizer.quantize(tmp_path / "net.onnx", iter(()), tmp_path / "out.onnx")

    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize("quantizer", QUANTIZERS, ids=lambda quantizer: quantizer.name)
def test_a_truncated_file_is_told_by_its_path(
    quantizer: Fp16 | Int8Dynamic | Int8Static, yolo_onnx: Path, tmp_path: Path
) -> None:
    (tmp_path / "net.onnx").write_bytes(yolo_onnx.read_bytes()[:100_000])

    with pytest.raises(ExportError, match=r"cannot read .*net\.onnx"):
        quantizer.quantize(tmp_path / "net.onnx", iter(()), tmp_path / "out.onnx")


@pytest.mark.parametrize("quantizer", QUANTIZERS[:2], ids=lambda quantizer: quantizer.name)
def test_metadata_need_not_be_there(quantizer: Fp16 | Int8Dynamic, yolo_onnx: Path, tmp_path: Path) -> None:
    net = onnx.load(yolo_onnx)
    del net.metadata_props[:]
    onnx.save(net, tmp_path / "net.onnx")

    quantizer.quantize(tmp_path / "net.onnx", iter(()), tmp_path / "out.onnx")

    onnx.checker.check_model(tmp_path / "out.onnx")
