from pathlib import Path

import onnx
import pytest

from secateur.doctor.graph import Graph, describe, picture_shape, read
from secateur.errors import ExportError
from tests.conftest import IMGSZ
from tests.doctor.conftest import changed


def open_batch(net: onnx.ModelProto) -> None:
    side = net.graph.input[0].type.tensor_type.shape.dim[0]
    side.dim_param = "batch"


def no_metadata(net: onnx.ModelProto) -> None:
    del net.metadata_props[:]


def test_a_file_says_what_it_is(seg_onnx: Path) -> None:
    net = read(seg_onnx)
    file = describe(seg_onnx, net)

    assert (file.task, file.classes, file.imgsz) == ("segment", 5, IMGSZ)
    assert file.input_shape == picture_shape(file, net) == (1, 3, IMGSZ, IMGSZ)
    assert file.size_bytes == seg_onnx.stat().st_size
    assert not file.is_quantized


def test_a_quantized_file_is_told_by_its_nodes(int8_onnx: Path) -> None:
    assert describe(int8_onnx, read(int8_onnx)).is_quantized


def test_open_sides_are_told_by_their_name_and_filled_in_as_usual(seg_onnx: Path, tmp_path: Path) -> None:
    model = changed(seg_onnx, tmp_path / "open.onnx", open_batch)

    net = read(model)
    file = describe(model, net)

    assert file.input_shape == ("batch", 3, IMGSZ, IMGSZ)
    assert picture_shape(file, net) == (1, 3, IMGSZ, IMGSZ)


def test_a_file_without_metadata_says_nothing_of_itself(seg_onnx: Path, tmp_path: Path) -> None:
    model = changed(seg_onnx, tmp_path / "bare.onnx", no_metadata)

    file = describe(model, read(model))

    assert (file.task, file.classes, file.imgsz) == (None, None, None)


@pytest.mark.parametrize(
    ("names", "imgsz", "wanted"),
    [
        ("['a', 'b']", "640", (2, 640)),
        ("7", "'large'", (None, None)),
        ("{}", "[]", (None, None)),
        ("a, b", "", (None, None)),
    ],
)
def test_metadata_that_others_write_are_read_where_they_can_be(
    names: str, imgsz: str, wanted: tuple, seg_onnx: Path, tmp_path: Path
) -> None:
    def say(net: onnx.ModelProto) -> None:
        del net.metadata_props[:]
        onnx.helper.set_model_props(net, {"names": names, "imgsz": imgsz})

    model = changed(seg_onnx, tmp_path / "other.onnx", say)

    file = describe(model, read(model))

    assert (file.classes, file.imgsz) == wanted


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_a_truncated_file_is_told_in_one_line(share: float, seg_onnx: Path, tmp_path: Path) -> None:
    whole = seg_onnx.read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[: int(share * len(whole))])

    with pytest.raises(ExportError, match=r"^cannot read .*cut\.onnx: .* \d+ bytes.*anew$"):
        read(tmp_path / "cut.onnx")


def test_a_missing_file_is_told_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"no model file .*gone\.onnx"):
        read(tmp_path / "gone.onnx")


def test_the_ends_of_8_bits_follow_from_scale_and_zero_point() -> None:
    node = onnx.helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["y"])
    numbers = [
        onnx.numpy_helper.from_array(onnx.numpy_helper.np.array(value, kind), name)
        for name, value, kind in (("scale", 0.5, "float32"), ("zero", 10, "uint8"))
    ]
    graph = Graph(onnx.helper.make_graph([node], "one", [], [], numbers))

    assert graph.ends(node) == (-5.0, 122.5)  # 0.5 · (0 − 10), 0.5 · (255 − 10)
