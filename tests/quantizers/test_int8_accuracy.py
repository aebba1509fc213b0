from pathlib import Path

import numpy as np
import onnx
import pytest

from secateur.errors import ExportError
from secateur.quantizers.int8_accuracy import NOTE, Int8Accuracy, _fewest, _with_first, blocks_of
from secateur.quantizers.int8_static import Int8Static, float_nodes, integer_forms
from secateur.results import Accuracy
from secateur.runtimes.onnxruntime import Onnxruntime
from tests.conftest import IMGSZ

INTEGER = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.random((1, 3, IMGSZ, IMGSZ), np.float32) for _ in range(4)]


class Agreement:
    """A judge: mAP is how well a file agrees with the float net's boxes, or masks, on one picture."""

    def __init__(self, exact: Path, picture: np.ndarray) -> None:
        self._picture, self.files = picture, 0
        self._exact = self._run(exact)

    def __call__(self, model: Path) -> Accuracy:
        self.files += 1
        box, mask = (
            float(np.corrcoef(a.ravel(), b.ravel())[0, 1]) for a, b in zip(self._exact, self._run(model), strict=True)
        )
        return Accuracy(box, box, mask, mask, 1, "agreement")

    def _run(self, model: Path) -> list[np.ndarray]:
        boxes, prototypes = Onnxruntime().open(model).run(self._picture)
        return [boxes[:, 4:], prototypes]


def kept(file: Path) -> list[str]:
    return {entry.key: entry.value for entry in onnx.load(file).metadata_props}[NOTE].split()


def quantized_convolutions(file: Path) -> int:
    graph = onnx.load(file).graph
    integers = {w.name for w in graph.initializer if w.data_type in INTEGER and len(w.dims) > 1}
    return sum(node.op_type == "DequantizeLinear" and node.input[0] in integers for node in graph.node)


def gated(max_drop: float, model: Path, pictures: list, out: Path) -> Agreement:
    judge = Agreement(model, pictures[0])
    Int8Accuracy(images=len(pictures), max_drop=max_drop).quantize_within(
        model, iter(pictures), judge, out, lambda done, total: None
    )
    return judge


def test_a_gate_that_int8_passes_gives_the_file_of_int8_static(seg_onnx: Path, pictures: list, tmp_path: Path) -> None:
    judge = gated(0.5, seg_onnx, pictures, tmp_path / "gated.onnx")
    Int8Static(images=len(pictures)).quantize(seg_onnx, iter(pictures), tmp_path / "static.onnx")

    gate, static = (onnx.load(tmp_path / f"{name}.onnx") for name in ("gated", "static"))

    assert kept(tmp_path / "gated.onnx") == []
    assert gate.graph == static.graph
    assert judge.files == 2  # the float file, and all of it in INT8


def test_a_strict_gate_returns_as_few_blocks_as_pass(seg_onnx: Path, pictures: list, tmp_path: Path) -> None:
    Int8Static(images=len(pictures)).quantize(seg_onnx, iter(pictures), tmp_path / "static.onnx")
    judge = Agreement(seg_onnx, pictures[0])
    whole = judge(seg_onnx)
    static = judge(tmp_path / "static.onnx")
    lost = max(whole.box_map50_95 - static.box_map50_95, whole.main - static.main)

    gated(lost / 2, seg_onnx, pictures, tmp_path / "gated.onnx")

    found, total = judge(tmp_path / "gated.onnx"), quantized_convolutions(tmp_path / "static.onnx")
    assert max(whole.box_map50_95 - found.box_map50_95, whole.main - found.main) <= lost / 2
    assert 0 < len(kept(tmp_path / "gated.onnx")) < total
    assert quantized_convolutions(tmp_path / "gated.onnx") == total - len(kept(tmp_path / "gated.onnx"))


def test_blocks_share_out_all_that_is_quantized_one_convolution_each(seg_onnx: Path) -> None:
    graph = integer_forms(seg_onnx).graph
    always = float_nodes(graph)

    blocks = blocks_of(graph, always)

    members = [name for block in blocks.values() for name in block]
    assert sorted(members) == sorted({node.name for node in graph.node} - always)
    learned = {node.name for node in graph.node if node.op_type in ("Conv", "Gemm")}
    assert all(len(block & learned) == 1 for block in blocks.values())
    assert {name for name, block in blocks.items() if name in block} == set(blocks)


def test_a_look_at_the_first_pictures_takes_none_of_them_away() -> None:
    pictures = [np.full(1, number, np.float32) for number in range(5)]

    first, every = _with_first(iter(pictures), 2)

    assert first == pictures[:2]
    assert list(every) == pictures


def test_a_gate_that_can_see_no_drop_says_so(
    seg_onnx: Path, pictures: list, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def nothing_found(model: Path) -> Accuracy:
        return Accuracy(0.0, 0.0, 0.0, 0.0, 3, "nobody")

    Int8Accuracy(images=1).quantize_within(
        seg_onnx, iter(pictures), nothing_found, tmp_path / "out.onnx", lambda done, total: None
    )

    assert "finds nothing on 3 training pictures" in caplog.text


def test_no_pictures_are_told_with_the_file(seg_onnx: Path, pictures: list, tmp_path: Path) -> None:
    part, judge = Int8Accuracy(), Agreement(seg_onnx, pictures[0])

    with pytest.raises(ExportError, match=r"^cannot quantize .*\.onnx: no calibration pictures came$"):
        part.quantize_within(seg_onnx, (), judge, tmp_path / "out.onnx", lambda done, total: None)


@pytest.mark.parametrize("wanted", range(1, 9))
def test_the_fewest_that_pass_are_found(wanted: int) -> None:
    assert _fewest(8, lambda count: count >= wanted) == wanted


@pytest.mark.parametrize("fields", [{"max_drop": 0}, {"max_drop": 1}, {"judged_images": 0}, {"images": 0}])
def test_fields_out_of_range_are_refused(fields: dict) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(fields))} must be .* got"):
        Int8Accuracy(**fields)
