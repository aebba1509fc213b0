"""One net, quantized as it should be and as it should not, once a session; and what breaks a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from secateur.quantizers.int8_static import Int8Static
from tests.conftest import IMGSZ

Images = list[np.ndarray]
Change = Callable[[onnx.ModelProto], object]


@pytest.fixture(scope="session")
def noise() -> Images:
    rng = np.random.default_rng(0)
    return [rng.random((1, 3, IMGSZ, IMGSZ), np.float32) for _ in range(4)]


@pytest.fixture(scope="session")
def int8_onnx(seg_onnx: Path, noise: Images, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All but the end in INT8."""
    out = tmp_path_factory.mktemp("int8") / "int8.onnx"
    Int8Static(images=len(noise), reduce_range=False).quantize(seg_onnx, noise, out)  # on every processor
    return out


@pytest.fixture(scope="session")
def convolutions_only(seg_onnx: Path, noise: Images, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Only the convolutions in INT8, with signed activations: what Ultralytics' exporter does."""
    from onnxruntime.quantization import QuantType

    out = tmp_path_factory.mktemp("convolutions") / "int8.onnx"
    quantize(seg_onnx, noise, out, op_types_to_quantize=["Conv"], activation_type=QuantType.QInt8)
    return out


@pytest.fixture(scope="session")
def decode_too(seg_onnx: Path, noise: Images, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything in INT8, the tensor that joins coordinates and scores included."""
    from onnxruntime.quantization import QuantType

    out = tmp_path_factory.mktemp("everything") / "int8.onnx"
    quantize(seg_onnx, noise, out, activation_type=QuantType.QUInt8)
    return out


def quantize(model: Path, images: Images, out: Path, **settings: Any) -> None:
    from onnxruntime.quantization import QuantType, quantize_static

    class Reader:
        def __init__(self) -> None:
            self.images: Iterator[np.ndarray] = iter(images)

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self.images, None)
            return None if image is None else {"images": image}

    quantize_static(model, out, Reader(), weight_type=QuantType.QInt8, **settings)


def changed(model: Path, out: Path, change: Change) -> Path:
    """A copy of the file after `change`."""
    net = onnx.load(model)
    change(net)
    onnx.save(net, out)
    return out


def scaled(net: onnx.ModelProto, tensor: str, factor: float) -> None:
    """Gives a quantized tensor another scale, in place."""
    scale = next(entry for entry in net.graph.initializer if entry.name == f"{tensor}_scale")
    values = numpy_helper.to_array(scale) * np.float32(factor)
    scale.CopyFrom(numpy_helper.from_array(values.astype(np.float32), scale.name))


def last_quantized(net: onnx.ModelProto) -> list[str]:
    """The tensors that the end of the net, in float, reads."""
    from secateur.quantizers._graph import float_nodes, producers_of

    makers, kept = producers_of(net.graph), float_nodes(net.graph)
    read = {name for node in net.graph.node if node.name in kept for name in node.input}
    ends = [makers[name] for name in sorted(read & makers.keys())]
    scales = {node.input[1] for node in ends if node.op_type == "DequantizeLinear"}
    return sorted(name.removesuffix("_scale") for name in scales if "weight" not in name and "bias" not in name)
