from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from secateur.errors import ExportError
from secateur.quantizers import _graph, _noise
from secateur.quantizers.int8_dynamic import Int8Dynamic
from secateur.quantizers.int8_static import Int8Static, float_nodes, integer_forms
from tests.conftest import IMGSZ

PICTURE = np.array([[[[0.25, 0.5], [0.75, 1.0]]]], np.float32)
LAYERS = ("model.0.conv", "model.1.conv", "model.2.conv")


def net(nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 2, 2]) for name in ("x", "y2")]
    constants = [numpy_helper.from_array(values, name) for name, values in weights.items()]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def conv(layer: int, source: str, weight: str) -> onnx.NodeProto:
    return helper.make_node("Conv", [source, weight], [f"y{layer}"], f"/model.{layer}/conv/Conv", kernel_shape=[1, 1])


def rounded(tensor: str, scale: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("QuantizeLinear", [tensor, scale, "zero"], [f"{tensor}_q"]),
        helper.make_node("DequantizeLinear", [f"{tensor}_q", scale, "zero"], [f"{tensor}_dq"]),
    ]


def one_by_one(value: float, kind: type = np.float32) -> np.ndarray:
    return np.full((1, 1, 1, 1), value, kind)


@pytest.fixture(scope="module")
def looks() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.random((1, 3, IMGSZ, IMGSZ), np.float32) for _ in range(4)]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Three convolutions that pass on what they get. In INT8 the first gives steps of 1/4, which lose nothing of the
    picture, the second steps of 1; the last is in float."""
    floats = {f"w{n}": one_by_one(1) for n in range(3)}
    exact = net([conv(0, "x", "w0"), conv(1, "y0", "w1"), conv(2, "y1", "w2")], floats)
    weights = [helper.make_node("DequantizeLinear", [f"i{n}", "coarse", "none"], [f"w{n}_dq"]) for n in range(2)]
    integers = {f"i{n}": one_by_one(1, np.int8) for n in range(2)}
    scales = {"fine": np.float32(0.25), "coarse": np.float32(1), "zero": np.uint8(0), "none": np.int8(0)}
    nodes = [
        *weights, *rounded("x", "fine"), conv(0, "x_dq", "w0_dq"), *rounded("y0", "fine"), conv(1, "y0_dq", "w1_dq"),
        *rounded("y1", "coarse"), conv(2, "y1_dq", "w2"),
    ]  # fmt: skip
    constants = integers | {name: np.asarray(value) for name, value in scales.items()} | {"w2": one_by_one(1)}
    for name, made in (("exact", exact), ("int8", net(nodes, constants))):
        onnx.checker.check_model(made)
        onnx.save(made, tmp_path / f"{name}.onnx")
    return tmp_path / "exact.onnx", tmp_path / "int8.onnx"


def test_the_layer_of_the_coarse_scale_is_the_noisy_one(files: tuple[Path, Path]) -> None:
    first, second, last = _noise.measure(*files, [PICTURE])

    # 1/4, 2/4, 3/4, 1 become 0, 0 (the even one), 1, 1: by hand 15/8 of signal, 3/8 of noise
    assert tuple(layer.name for layer in (first, second, last)) == LAYERS
    assert (first.own_sqnr_db, first.sqnr_db) == (None, None)
    assert second.own_sqnr_db == pytest.approx(10 * np.log10(5))
    assert second.sqnr_db == pytest.approx(10 * np.log10(5))


def test_a_layer_in_float_passes_noise_on_and_has_none_of_its_own(files: tuple[Path, Path]) -> None:
    *integer, last = _noise.measure(*files, [PICTURE])

    assert last.kept_float
    assert last.own_sqnr_db is None
    assert last.sqnr_db == pytest.approx(10 * np.log10(5))
    assert not any(layer.kept_float for layer in integer)


def test_powers_are_summed_over_all_pictures(files: tuple[Path, Path]) -> None:
    _, second, _ = _noise.measure(*files, [PICTURE, np.ones_like(PICTURE)])

    assert second.own_sqnr_db == pytest.approx(10 * np.log10((15 / 8 + 4) / (3 / 8)))


def test_a_layer_without_a_signal_is_left_out(files: tuple[Path, Path]) -> None:
    assert _noise.measure(*files, [np.zeros_like(PICTURE)]) == ()


def test_a_file_in_float_has_no_layers_to_tell(files: tuple[Path, Path]) -> None:
    exact, _ = files

    assert _noise.measure(exact, exact, [PICTURE]) == ()


def test_a_quantized_file_is_no_float_file(files: tuple[Path, Path]) -> None:
    _, integer = files

    with pytest.raises(ExportError, match="it is quantized already"):
        _noise.measure(integer, integer, [PICTURE])


@pytest.mark.parametrize(
    ("node", "layer"),
    [
        ("/model.2/m.0/cv1/conv/Conv", "model.2.m.0.cv1.conv"),
        ("/model.22/cv2.0/cv2.0.2/Conv", "model.22.cv2.0.2"),
        ("/model.22/proto/upsample/ConvTranspose", "model.22.proto.upsample"),
        ("Conv_17", "Conv_17"),
    ],
)
def test_layers_have_the_names_that_they_have_in_the_net(node: str, layer: str) -> None:
    assert _noise.layer_name(node) == layer


@pytest.mark.parametrize(
    ("kinds", "behind"),
    [(["Relu"], "r"), (["Sigmoid", "Mul"], "p"), (["HardSigmoid", "Mul"], "p"), (["Sigmoid"], "y"), (["Mul"], "y")],
)
def test_a_layer_gives_what_is_behind_its_activation(kinds: list[str], behind: str) -> None:
    """`y` is what the convolution gives, `r`, `s` and `p` what the others make of it."""
    gives = {"Relu": (["y"], "r"), "Sigmoid": (["y"], "s"), "HardSigmoid": (["y"], "s"), "Mul": (["y", "s"], "p")}
    readers = {"y": [helper.make_node(kind, gives[kind][0], [gives[kind][1]]) for kind in kinds]}

    assert _noise._activated("y", readers) == behind


@pytest.mark.parametrize("name", ["int8_static", "int8_dynamic", "nncf"])
def test_each_layer_of_a_yolo_is_found_in_each_kind_of_file(
    name: str, seg_onnx: Path, looks: list, tmp_path: Path
) -> None:
    way = Int8Static(images=4) if name == "int8_static" else Int8Dynamic()
    if name == "nncf":
        pytest.importorskip("nncf")
        from secateur.quantizers.nncf import Nncf

        way = Nncf(images=4)
    way.quantize(seg_onnx, iter(looks), tmp_path / "int8.onnx")

    layers = _noise.measure(seg_onnx, tmp_path / "int8.onnx", looks)

    graph = onnx.load(seg_onnx).graph
    learned = [node for node in graph.node if _graph.is_learned(node, _graph.producers_of(graph))]
    assert [layer.name for layer in layers] == [_noise.layer_name(node.name) for node in learned]
    assert all(layer.sqnr_db is not None and layer.sqnr_db > 5 for layer in layers)
    assert all(layer.kept_float == (layer.own_sqnr_db is None) for layer in layers)


def test_a_layers_own_noise_is_that_of_a_file_in_which_it_alone_is_quantized(
    seg_onnx: Path, looks: list, tmp_path: Path
) -> None:
    way, integer = Int8Static(images=4), integer_forms(seg_onnx)
    always = float_nodes(integer.graph)
    ranges = way.ranges(seg_onnx, integer, always, looks)
    layer = [f"/model.4/cv1/{node}" for node in ("conv/Conv", "act/Sigmoid", "act/Mul")]
    for name, kept in (("all", always), ("alone", {node.name for node in integer.graph.node} - set(layer))):
        onnx.save(way.with_integers(integer, ranges, kept), tmp_path / f"{name}.onnx")

    everything, alone = (
        {found.name: found for found in _noise.measure(seg_onnx, tmp_path / f"{name}.onnx", looks)}
        for name in ("all", "alone")
    )

    assert [name for name, found in alone.items() if not found.kept_float] == ["model.4.cv1.conv"]
    assert everything["model.4.cv1.conv"].own_sqnr_db == pytest.approx(alone["model.4.cv1.conv"].sqnr_db, abs=0.1)
    assert everything["model.4.cv1.conv"].sqnr_db < alone["model.4.cv1.conv"].sqnr_db


def test_a_net_for_several_pictures_at_once_tells_the_same(
    yolo_onnx: Path, four_onnx: Path, pictures: list, tmp_path: Path
) -> None:
    found = []
    for model in (yolo_onnx, four_onnx):
        Int8Static(images=4).quantize(model, iter(pictures), tmp_path / model.name)
        found.append(_noise.measure(model, tmp_path / model.name, pictures[:3]))

    for one, four in zip(*found, strict=True):
        assert one.name == four.name
        if one.own_sqnr_db:  # where rounding moves the sum with the bias
            assert one.own_sqnr_db == pytest.approx(four.own_sqnr_db, abs=0.2)
