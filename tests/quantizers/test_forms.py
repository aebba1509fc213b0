from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from secateur.quantizers import _forms, _graph
from secateur.quantizers.int8_static import integer_forms
from secateur.runtimes.onnxruntime import Onnxruntime


def test_the_rewritten_net_gives_the_same_values(yolo_onnx: Path, pictures: list, tmp_path: Path) -> None:
    onnx.save(integer_forms(yolo_onnx), tmp_path / "forms.onnx")

    original, rewritten = (Onnxruntime().open(path).run(pictures[0]) for path in (yolo_onnx, tmp_path / "forms.onnx"))

    for wanted, given in zip(original, rewritten, strict=True):
        np.testing.assert_allclose(given, wanted, rtol=1e-3, atol=1e-4)


def test_no_transposed_convolution_and_no_softmax_across_rows_is_left(yolo_onnx: Path) -> None:
    graph = integer_forms(yolo_onnx).graph
    softmaxes = [_forms.attributes(node)["axis"] for node in graph.node if node.op_type == "Softmax"]

    assert Counter(node.op_type for node in graph.node)["ConvTranspose"] == 0
    assert softmaxes == [-1]


def test_the_rewritten_net_is_valid_and_holds_no_weight_that_nobody_reads(yolo_onnx: Path) -> None:
    net = integer_forms(yolo_onnx)
    read = {name for node in net.graph.node for name in node.input}

    onnx.checker.check_model(net, full_check=True)
    assert {weights.name for weights in net.graph.initializer} <= read


def transposed(**given: list[int]) -> onnx.ModelProto:
    """A net of one transposed convolution, 3 to 5 channels, 6 x 4 pixels."""
    rng = np.random.default_rng(0)
    side = given["kernel_shape"]
    weights = [
        numpy_helper.from_array(rng.normal(size=(3, 5, *side)).astype(np.float32), "w"),
        numpy_helper.from_array(rng.normal(size=5).astype(np.float32), "b"),
    ]
    graph = helper.make_graph(
        [helper.make_node("ConvTranspose", ["x", "w", "b"], ["y"], "up", **given)],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 6, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


@pytest.mark.parametrize("side", [[2, 2], [3, 2]], ids=str)
def test_a_transposed_convolution_without_overlap_becomes_one_of_1x1(side: list[int], tmp_path: Path) -> None:
    net = _graph.with_shapes(transposed(kernel_shape=side, strides=side))
    onnx.save(net, tmp_path / "before.onnx")
    net = _forms.rewrite(net)
    onnx.save(net, tmp_path / "after.onnx")
    picture = np.random.default_rng(1).normal(size=(1, 3, 6, 4)).astype(np.float32)

    before, after = (Onnxruntime().open(tmp_path / f"{name}.onnx").run(picture)[0] for name in ("before", "after"))

    assert "ConvTranspose" not in {node.op_type for node in net.graph.node}
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-6)


def test_a_transposed_convolution_whose_windows_overlap_is_left_alone() -> None:
    net = _forms.rewrite(_graph.with_shapes(transposed(kernel_shape=[3, 3], strides=[2, 2])))

    assert [node.op_type for node in net.graph.node] == ["ConvTranspose"]
