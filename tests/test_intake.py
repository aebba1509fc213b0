from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from secateur.intake import answers, shape_of, stacked
from secateur.runtimes.onnxruntime import Onnxruntime


def pictures(count: int) -> list[np.ndarray]:
    """(1, 3, 2, 2) each; all values of one are its number."""
    return [np.full((1, 3, 2, 2), number, np.float32) for number in range(count)]


@pytest.fixture
def in_threes(tmp_path: Path) -> Path:
    """Takes three pictures; gives their doubles, each pixel's values in a row of one long table, and a constant."""
    graph = helper.make_graph(
        [
            helper.make_node("Add", ["images", "images"], ["doubles"]),
            helper.make_node("Reshape", ["images", "rows"], ["table"]),
            helper.make_node("Identity", ["anchors"], ["same"]),
        ],
        "net",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, (3, 3, 2, 2))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("doubles", "table", "same")],
        [
            numpy_helper.from_array(np.array([12, 3], np.int64), "rows"),
            numpy_helper.from_array(np.arange(4, dtype=np.float32), "anchors"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def test_pictures_come_in_stacks_and_the_last_one_is_filled_up() -> None:
    first, second = stacked(pictures(5), 3)

    assert [stack[:, 0, 0, 0].tolist() for stack, _ in (first, second)] == [[0, 1, 2], [3, 4, 4]]
    assert (first[1], second[1]) == (3, 2)
    assert list(stacked([], 3)) == []


@pytest.mark.parametrize("count", [0, 2, 3, 7])
def test_what_a_stack_gives_is_told_picture_by_picture(count: int, in_threes: Path) -> None:
    given = list(answers(Onnxruntime().open(in_threes), pictures(count)))

    assert len(given) == count
    for number, (doubles, table, same) in enumerate(given):
        assert np.array_equal(doubles, np.full((1, 3, 2, 2), 2 * number))
        assert np.array_equal(table, np.full((4, 3), number))
        assert same.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("sides", "metadata", "shape"),
    [
        ((2, 3, 64, 32), {"batch": "4", "imgsz": "[96, 96]"}, (2, 3, 64, 32)),
        (("batch", 3, "height", "width"), {"batch": "4", "imgsz": "[96, 128]"}, (4, 3, 96, 128)),
        ((None, 3, "height", "width"), {"imgsz": "320"}, (1, 3, 320, 320)),
        (("batch", 3, "height", "width"), {"imgsz": "large"}, (1, 3, 640, 640)),
        (("batch", 3, "height", "width"), {"batch": "'x'", "imgsz": "[96]"}, (1, 3, 640, 640)),
        ((1, 3, 64, 64), {"imgsz": "[640, 640, 3]"}, (1, 3, 64, 64)),
        (("n", 10), {}, (1, 10)),
    ],
)
def test_an_open_side_is_as_the_file_was_exported_for_or_as_usual(
    sides: tuple[int | str | None, ...], metadata: dict[str, str], shape: tuple[int, ...]
) -> None:
    assert shape_of(sides, metadata) == shape
