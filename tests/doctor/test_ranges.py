from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from secateur.doctor.graph import Graph, read
from secateur.doctor.ranges import examine, findings
from secateur.examination import TensorRange
from secateur.runtimes.onnxruntime import Onnxruntime
from tests.doctor.conftest import Images, changed, scaled

SILU = "/model.4/cv1/act/Mul_output_0"


def ranges(model: Path, pictures: Images | None) -> tuple[TensorRange, ...]:
    net = read(model)
    return examine(Graph(net.graph), net, Onnxruntime(threads=1), pictures)


def joined(out: Path, scale: float) -> Path:
    """Joins Sigmoid(x) and 600 x, and quantizes the whole with one scale."""
    numbers = [
        numpy_helper.from_array(np.array(value, kind), name)
        for name, value, kind in (("scale", scale, "float32"), ("zero", 0, "uint8"), ("pixels", 600, "float32"))
    ]
    nodes = [
        helper.make_node("Sigmoid", ["images"], ["scores"], name="scores"),
        helper.make_node("Mul", ["images", "pixels"], ["boxes"], name="boxes"),
        helper.make_node("Concat", ["boxes", "scores"], ["all"], name="join", axis=1),
        helper.make_node("QuantizeLinear", ["all", "scale", "zero"], ["q"], name="q"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["output0"], name="d"),
    ]
    picture, output = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("images", (1, 3, 8, 8)), ("output0", (1, 6, 8, 8)))
    )
    graph = helper.make_graph(nodes, "joined", [picture], [output], numbers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), out)
    return out


@pytest.mark.parametrize("looked", [False, True])
def test_a_tensor_that_joins_coordinates_with_scores_is_named(looked: bool, decode_too: Path, noise: Images) -> None:
    found = ranges(decode_too, noise if looked else None)

    worst = found[0]
    assert worst.tensor.startswith("output0")
    assert "Sigmoid" in worst.problem
    assert "is joined with values of up to" in worst.problem
    assert "0." in worst.problem  # of a level
    assert (worst.seen_low is None) != looked
    assert "int8_static" in findings(found)[0].remedy


def test_how_many_levels_are_left_is_counted(tmp_path: Path) -> None:
    (found,) = ranges(joined(tmp_path / "joined.onnx", scale=2.5), None)

    assert found.problem == (
        "Sigmoid scores, all of whose values lie within 1, is joined with values of up to 640 under one scale: "
        "a level is 2.5, so 0.4 levels of 256 are left for it"
    )
    assert (found.low, found.high, found.step) == (0, 637.5, 2.5)


def test_a_scale_that_tells_scores_apart_is_no_problem(tmp_path: Path) -> None:
    assert ranges(joined(tmp_path / "joined.onnx", scale=0.1), None) == ()


def test_a_net_that_is_quantized_as_it_should_be_has_no_problem(int8_onnx: Path, noise: Images) -> None:
    assert ranges(int8_onnx, None) == ()
    assert ranges(int8_onnx, noise) == ()


def test_a_float_net_has_no_ranges_to_judge(seg_onnx: Path, noise: Images) -> None:
    assert ranges(seg_onnx, noise) == ()


def test_values_that_are_clipped_show_on_pictures_only(int8_onnx: Path, noise: Images, tmp_path: Path) -> None:
    tight = changed(int8_onnx, tmp_path / "tight.onnx", lambda net: scaled(net, SILU, 0.2))

    assert ranges(tight, None) == ()
    found = next(tensor for tensor in ranges(tight, noise) if tensor.tensor == SILU)
    assert "of its values are clipped" in found.problem
    assert found.clipped_share is not None
    assert 0.01 < found.clipped_share < 1
    assert found.seen_high is not None
    assert found.seen_high > found.high


def test_a_scale_that_leaves_a_level_or_two_shows_on_pictures(int8_onnx: Path, noise: Images, tmp_path: Path) -> None:
    coarse = changed(int8_onnx, tmp_path / "coarse.onnx", lambda net: scaled(net, SILU, 300))

    found = next(tensor for tensor in ranges(coarse, noise) if tensor.tensor == SILU)

    assert "levels" in found.problem


def test_a_scale_that_is_no_number_is_told_without_pictures(int8_onnx: Path, tmp_path: Path) -> None:
    broken = changed(int8_onnx, tmp_path / "nan.onnx", lambda net: scaled(net, SILU, float("nan")))
    found = {tensor.tensor: tensor.problem for tensor in ranges(broken, None)}

    assert SILU in found
    assert set(found.values()) == {"its scale is nan, which is none"}


def test_a_net_of_which_the_picture_alone_is_quantized_is_no_trouble(tmp_path: Path) -> None:
    numbers = [
        numpy_helper.from_array(np.array(1 / 255, np.float32), "scale"),
        numpy_helper.from_array(np.array(0, np.uint8), "zero"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["images", "scale", "zero"], ["q"], name="q"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["output0"], name="d"),
    ]
    picture, output = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 3, 8, 8)) for name in ("images", "output0")
    )
    graph = helper.make_graph(nodes, "picture", [picture], [output], numbers)
    net = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(net, tmp_path / "picture.onnx")

    assert ranges(tmp_path / "picture.onnx", [np.zeros((1, 3, 8, 8), np.float32)]) == ()


def before_silu(out: Path, zero: int) -> Path:
    """−40 x, quantized in steps of 0.05 with that zero point, and its SiLU."""
    numbers = [
        numpy_helper.from_array(np.array(value, kind), name)
        for name, value, kind in (("scale", 0.05, "float32"), ("zero", zero, "uint8"), ("slope", -40, "float32"))
    ]
    nodes = [
        helper.make_node("Mul", ["images", "slope"], ["x"], name="x"),
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], name="q"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"], name="d"),
        helper.make_node("Sigmoid", ["d"], ["gate"], name="gate"),
        helper.make_node("Mul", ["d", "gate"], ["output0"], name="silu"),
    ]
    picture, output = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 3, 8, 8)) for name in ("images", "output0")
    )
    graph = helper.make_graph(nodes, "silu", [picture], [output], numbers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), out)
    return out


@pytest.mark.parametrize(("zero", "problem"), [(80, False), (10, True)], ids=["to −4", "to −0.5"])
def test_what_a_silu_cannot_tell_apart_is_not_lost_by_clipping(zero: int, problem: bool, tmp_path: Path) -> None:
    pictures = [np.random.default_rng(0).random((1, 3, 8, 8), np.float32)]

    found = ranges(before_silu(tmp_path / "net.onnx", zero), pictures)

    assert any("of its values are clipped" in tensor.problem for tensor in found) == problem
