"""Small ONNX files, made with onnx alone."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper


def stack_of_convolutions(layers: int) -> onnx.ModelProto:
    shape = (1, 3, 64, 64)
    weight = numpy_helper.from_array(np.full((3, 3, 3, 3), 0.03, np.float32), "weight")
    names = ["images", *(f"hidden{index}" for index in range(1, layers)), "output0"]
    nodes = [
        helper.make_node("Conv", [source, "weight"], [target], pads=[1, 1, 1, 1]) for source, target in pairwise(names)
    ]
    images, output = (
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in ("images", "output0")
    )
    graph = helper.make_graph(nodes, "convolutions", [images], [output], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="session")
def short_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "short.onnx"
    onnx.save(stack_of_convolutions(8), path)
    return path


@pytest.fixture(scope="session")
def long_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight times the work of the short one."""
    path = tmp_path_factory.mktemp("models") / "long.onnx"
    onnx.save(stack_of_convolutions(64), path)
    return path
