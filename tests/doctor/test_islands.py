from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from secateur.doctor.graph import Graph
from secateur.doctor.islands import conversions, findings
from secateur.doctor.profile import profile
from secateur.examination import Conversions, Finding, NodeTime, Profile
from secateur.quantizers.int8_dynamic import Int8Dynamic
from secateur.runtimes.onnxruntime import Onnxruntime
from tests.conftest import IMGSZ


def examined(model: Path, folder: Path) -> tuple[Conversions, list[Finding]]:
    """As the file runs here."""
    run = folder / "run.onnx"
    profiled = profile(model, Onnxruntime(threads=1), (1, 3, IMGSZ, IMGSZ), 0.1, 0.0, run)
    graph = Graph(onnx.load(run).graph)
    found = conversions(graph, profiled)
    return found, findings(found, graph)


def drawn(*nodes: tuple[str, str, str]) -> tuple[Graph, Profile]:
    """Operators with what they read and give; a millisecond each."""
    made = [onnx.helper.make_node(kind, reads.split(), gives.split(), name=gives) for kind, reads, gives in nodes]
    times = tuple(NodeTime(node.name, node.op_type, 1.0) for node in made)
    return Graph(onnx.helper.make_graph(made, "drawn", [], [])), Profile("onnxruntime", "1", 1, 1, 9.0, times)


def test_silus_in_float_are_the_reason_and_int8_static_is_the_remedy(convolutions_only: Path, tmp_path: Path) -> None:
    _, (first, *_) = examined(convolutions_only, tmp_path)

    assert (first.check, first.about) == ("float_islands", "slow")
    assert first.text.startswith("65 SiLU (")
    assert "in float between quantized operators" in first.text
    assert "quantization=int8_static" in first.remedy


def test_a_net_that_is_quantized_as_it_should_be_has_no_float_between(int8_onnx: Path, tmp_path: Path) -> None:
    found, told = examined(int8_onnx, tmp_path)

    assert found.fallbacks == ()
    assert found.islands == 0
    assert told == []


def test_an_operator_without_a_kernel_on_integers_is_told_apart() -> None:
    graph, profiled = drawn(
        ("QLinearConv", "picture", "a"),
        ("DequantizeLinear", "a", "x"),
        ("ConvTranspose", "x", "y"),
        ("QuantizeLinear", "y", "b"),
        ("QLinearConv", "b", "c"),
    )

    (finding,) = findings(conversions(graph, profiled), graph)

    assert finding.check == "float_only"
    assert finding.text.startswith("1 ConvTranspose (1.0 ms) in float")
    assert "quantization=int8_static" in finding.remedy


def test_the_same_net_as_signed_or_not_dequantizes_less_than_one_with_silus_in_float(
    int8_onnx: Path, convolutions_only: Path, tmp_path: Path
) -> None:
    good, bad = (examined(model, tmp_path)[0].count for model in (int8_onnx, convolutions_only))

    assert good < 20
    assert bad > 130


def test_a_float_net_has_no_islands(seg_onnx: Path, tmp_path: Path) -> None:
    assert examined(seg_onnx, tmp_path) == (Conversions(0, 0, 0, 0, ()), [])


def test_dynamic_quantization_is_told_with_its_remedy(seg_onnx: Path, tmp_path: Path) -> None:
    Int8Dynamic().quantize(seg_onnx, (), tmp_path / "dynamic.onnx")

    _, (first, *_) = examined(tmp_path / "dynamic.onnx", tmp_path)

    assert "SiLU" in first.text
    assert first.remedy.startswith("ranges are looked for on every pass; ")


def test_what_is_float_behind_the_last_quantized_operator_is_no_island() -> None:
    graph, times = drawn(
        ("QuantizeLinear", "picture s z", "q"), ("DequantizeLinear", "q s z", "d"),
        ("Softmax", "d", "e"), ("Sub", "e", "f"),
    )  # fmt: skip

    assert conversions(graph, times) == Conversions(2, 2.0, 0.5, 0, ())


def test_what_is_float_before_the_first_quantized_operator_is_no_island() -> None:
    graph, times = drawn(
        ("Div", "picture c", "x"), ("QuantizeLinear", "x s z", "q"), ("DequantizeLinear", "q s z", "d")
    )

    assert conversions(graph, times).islands == 0


def test_operators_that_hang_together_are_one_island_and_a_silu_is_one_operator() -> None:
    graph, times = drawn(
        ("DequantizeLinear", "p s z", "d1"), ("DequantizeLinear", "p s z", "d2"),
        ("Sigmoid", "d1", "sigmoid"), ("Mul", "d2 sigmoid", "silu"), ("Relu", "silu", "relu"),
        ("QuantizeLinear", "relu s z", "q"),
        ("DequantizeLinear", "q s z", "d3"), ("Relu", "d3", "other"), ("QuantizeLinear", "other s z", "q2"),
    )  # fmt: skip

    found = conversions(graph, times)

    assert found.islands == 2
    assert [(fallback.operator, fallback.count, fallback.ms) for fallback in found.fallbacks] == [
        ("SiLU", 1, 2.0),
        ("Relu", 2, 2.0),
    ]
    assert found.share == pytest.approx(5 / 9)
