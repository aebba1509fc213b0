import filecmp
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

from secateur.errors import ExportError
from secateur.intake import answers
from secateur.quantizers.fp32 import Fp32
from secateur.quantizers.int8_static import Int8Static, float_nodes, integer_forms
from secateur.runtimes.onnxruntime import Onnxruntime

FLOAT = onnx.TensorProto.FLOAT


@pytest.fixture(scope="session")
def int8_onnx(yolo_onnx: Path, pictures: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("int8") / "int8.onnx"
    Int8Static(images=len(pictures)).quantize(yolo_onnx, iter(pictures), out)
    return out


def sources(graph: onnx.GraphProto, node: onnx.NodeProto) -> list[str]:
    """Operators that make the inputs of a node."""
    makers = {output: maker.op_type for maker in graph.node for output in maker.output}
    return [makers[name] for name in node.input if name in makers]


def consumers(graph: onnx.GraphProto, node: onnx.NodeProto) -> set[str]:
    return {reader.op_type for reader in graph.node if set(node.output) & set(reader.input)}


def test_the_quantized_file_is_valid(int8_onnx: Path) -> None:
    onnx.checker.check_model(int8_onnx, full_check=True)


def test_the_quantized_file_is_less_than_a_third_of_the_original(yolo_onnx: Path, int8_onnx: Path) -> None:
    assert int8_onnx.stat().st_size < yolo_onnx.stat().st_size / 3


def test_the_quantized_net_takes_and_gives_the_same_shapes(yolo_onnx: Path, int8_onnx: Path, pictures: list) -> None:
    original, quantized = (Onnxruntime().open(path) for path in (yolo_onnx, int8_onnx))

    assert quantized.input_shape == original.input_shape
    assert [o.shape for o in quantized.run(pictures[0])] == [o.shape for o in original.run(pictures[0])]


def test_the_quantized_net_answers_nearly_as_the_original(yolo_onnx: Path, int8_onnx: Path, pictures: list) -> None:
    original, quantized = (Onnxruntime().open(path).run(pictures[0]) for path in (yolo_onnx, int8_onnx))

    for exact, rounded in zip(original, quantized, strict=True):
        assert np.abs(rounded - exact).mean() < 0.05 * np.abs(exact).mean()


def test_a_file_for_four_pictures_gives_to_each_what_the_file_for_one_gives(
    four_onnx: Path, int8_onnx: Path, pictures: list, tmp_path: Path
) -> None:
    Int8Static(images=len(pictures)).quantize(four_onnx, iter(pictures), tmp_path / "four.onnx")

    four, one = (list(answers(Onnxruntime().open(path), pictures)) for path in (tmp_path / "four.onnx", int8_onnx))

    for given, wanted in zip(four, one, strict=True):
        for output, same in zip(given, wanted, strict=True):
            assert np.abs(output - same).mean() < 1e-3 * np.abs(same).mean()  # a scale may end on another last bit


@pytest.mark.parametrize("calibrator", ["mean_minmax", "percentile"])
def test_ranges_are_those_of_single_pictures_though_the_last_stack_is_not_full(
    calibrator: str, yolo_onnx: Path, four_onnx: Path, pictures: list
) -> None:
    part = Int8Static(calibrator=calibrator)
    one, four = integer_forms(yolo_onnx), integer_forms(four_onnx)

    wanted = part.ranges(yolo_onnx, one, float_nodes(one.graph), pictures[:2])
    given = part.ranges(four_onnx, four, float_nodes(four.graph), pictures[:2])

    assert given.keys() == wanted.keys()
    assert all(given[name] == pytest.approx(wanted[name], rel=1e-2, abs=1e-3) for name in wanted)


def test_every_convolution_is_quantized_and_the_last_ones_give_float(int8_onnx: Path) -> None:
    graph = onnx.load(int8_onnx).graph
    weights_in_float = {initializer.name for initializer in graph.initializer if initializer.data_type == FLOAT}
    kinds = Counter(node.op_type for node in graph.node)
    convolutions = [node for node in graph.node if node.op_type in ("Conv", "ConvTranspose", "Gemm")]

    assert kinds["Conv"] == 66  # 65, and the one that was transposed
    assert kinds["ConvTranspose"] == 0
    assert kinds["Gemm"] == 10  # box, class and mask coefficients on three scales; the prototypes
    assert not [node.name for node in convolutions if node.input[1] in weights_in_float]
    assert not [
        node.name for node in convolutions if node.op_type == "Gemm" and "QuantizeLinear" in consumers(graph, node)
    ]


def test_no_silu_falls_back_to_float(int8_onnx: Path) -> None:
    graph = onnx.load(int8_onnx).graph
    kept = float_nodes(graph)
    sigmoids = [node for node in graph.node if node.op_type == "Sigmoid" and node.name not in kept]

    assert len(sigmoids) > 50
    assert all(sources(graph, node) == ["DequantizeLinear"] for node in sigmoids)
    assert all(consumers(graph, node) == {"QuantizeLinear"} for node in sigmoids)


def test_the_decode_stays_in_float(yolo_onnx: Path) -> None:
    graph = integer_forms(yolo_onnx).graph
    kept = Counter(node.op_type for node in graph.node if node.name in float_nodes(graph))

    assert kept["Softmax"] == 1  # the DFL
    assert kept["Sub"] == 2  # anchors minus left-top, right-bottom minus left-top
    assert not {"Conv", "Gemm", "MaxPool", "Resize", "Split"} & set(kept)


@pytest.mark.parametrize(
    "fields",
    [
        {"activations": "int8"},
        {"per_channel": False},
        {"reduce_range": not Int8Static().reduce_range},  # `auto` depends on the processor
        {"symmetric": True},
        {"calibrator": "minmax"},
        {"calibrator": "percentile"},
        {"calibrator": "entropy"},
    ],
    ids=lambda f: "=".join(map(str, *f.items())),
)
def test_every_setting_gives_another_file_that_runs(
    fields: dict, yolo_onnx: Path, int8_onnx: Path, pictures: list, tmp_path: Path
) -> None:
    Int8Static(images=len(pictures), **fields).quantize(yolo_onnx, pictures, tmp_path / "int8.onnx")

    assert not filecmp.cmp(int8_onnx, tmp_path / "int8.onnx", shallow=False)
    assert np.isfinite(Onnxruntime().open(tmp_path / "int8.onnx").run(pictures[0])[0]).all()


def test_the_same_pictures_give_the_same_bytes(
    yolo_onnx: Path, int8_onnx: Path, pictures: list, tmp_path: Path
) -> None:
    Int8Static(images=len(pictures)).quantize(yolo_onnx, iter(pictures), tmp_path / "again.onnx")

    assert filecmp.cmp(int8_onnx, tmp_path / "again.onnx", shallow=False)


def test_nothing_but_the_file_is_left_behind(int8_onnx: Path) -> None:
    assert [path.name for path in int8_onnx.parent.iterdir()] == ["int8.onnx"]


def test_calibration_without_pictures_is_refused(yolo_onnx: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"cannot quantize .*no calibration pictures"):
        Int8Static().quantize(yolo_onnx, iter(()), tmp_path / "int8.onnx")


def test_a_broken_file_is_told_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"not a model")

    with pytest.raises(ExportError, match=r"cannot read .*broken\.onnx"):
        Int8Static().quantize(tmp_path / "broken.onnx", iter(()), tmp_path / "int8.onnx")


@pytest.mark.parametrize("fields", [{"images": 0}, {"activations": "int4"}, {"calibrator": "mean"}, {"percentile": 50}])
def test_fields_out_of_range_are_refused(fields: dict) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(fields))} must be .* got"):
        Int8Static(**fields)


def test_fp32_ships_the_file_as_it_is(yolo_onnx: Path, tmp_path: Path) -> None:
    Fp32().quantize(yolo_onnx, iter(()), tmp_path / "out.onnx")

    assert filecmp.cmp(yolo_onnx, tmp_path / "out.onnx", shallow=False)


def test_the_parts_are_imported_without_their_libraries() -> None:
    code = "import secateur.quantizers.int8_static, sys; print({'onnx', 'onnxruntime', 'torch'} & set(sys.modules))"

    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert printed.strip() == "set()"
