from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from secateur.errors import ExportError
from secateur.quantizers import _ranges


def silu_net(*more: onnx.NodeProto) -> onnx.ModelProto:
    """`y` is the SiLU of `x`."""
    nodes = [helper.make_node("Sigmoid", ["x"], ["s"], "sigmoid"), helper.make_node("Mul", ["x", "s"], ["y"], "mul")]
    graph = helper.make_graph(
        [*nodes, *more],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 2, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 2, 2])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def pictures(*values: float) -> list[np.ndarray]:
    return [np.array([[[[-value, 0], [0, value]]]], np.float32) for value in values]


@pytest.mark.parametrize(
    ("calibrator", "wanted"),
    [("minmax", (-4, 4)), ("mean_minmax", (-2, 2)), ("percentile", (-4, 4)), ("entropy", (-4, 4))],
)
def test_each_calibrator_gives_the_range_it_stands_for(calibrator: _ranges.Calibrator, wanted: tuple) -> None:
    measured = _ranges.measure(silu_net(), ["x"], pictures(1, 1, 4), calibrator, 100)

    assert measured["x"] == pytest.approx(wanted, rel=0.01)


def test_values_that_are_no_numbers_are_told_with_their_tensor() -> None:
    with pytest.raises(ExportError, match="y is not finite on calibration picture 2"):
        _ranges.measure(silu_net(), ["y"], pictures(1, np.nan), "minmax", 100)


def test_no_pictures_are_told() -> None:
    with pytest.raises(ExportError, match="no calibration pictures came"):
        _ranges.measure(silu_net(), ["y"], [], "minmax", 100)


def test_before_a_silu_a_range_ends_where_it_gives_half_a_level() -> None:
    low, high = _ranges.clipped_before_silu({"x": (-50.0, 10.0)}, silu_net().graph, 255)["x"]
    level = (10 + 0.278) / 255

    assert high == 10
    assert -low / (1 + np.exp(-low)) == pytest.approx(level / 2, rel=0.05)


def test_a_range_that_holds_less_than_a_silu_can_tell_apart_stays() -> None:
    assert _ranges.clipped_before_silu({"x": (-2.0, 10.0)}, silu_net().graph, 255)["x"] == (-2, 10)


def test_a_tensor_that_others_read_too_keeps_its_range() -> None:
    net = silu_net(helper.make_node("Abs", ["x"], ["z"], "abs"))

    assert _ranges.clipped_before_silu({"x": (-50.0, 10.0)}, net.graph, 255)["x"] == (-50, 10)


def test_only_float_tensors_of_the_named_nodes_are_measured(yolo_onnx: Path) -> None:
    graph = onnx.shape_inference.infer_shapes(onnx.load(yolo_onnx)).graph
    convolution = next(node for node in graph.node if node.op_type == "Conv")

    assert _ranges.tensors_of(graph, {convolution.name}) == [convolution.input[0], convolution.output[0]]
