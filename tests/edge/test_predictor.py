"""What a predictor finds, beside Ultralytics' own on the same file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image
from ultralytics import YOLO

from secateur.adapters.yolo.door import Yolo
from secateur.edge.letterbox import place, read_picture
from secateur.edge.predictor import Detections, Predictor, names_of, open_predictor
from secateur.errors import ExportError, SpecError, StageError
from secateur.runtimes.onnxruntime import Onnxruntime
from tests.conftest import IMGSZ, random_checkpoint
from tests.edge.test_coco_map import PICTURES, WEIGHTS

real = pytest.mark.skipif(
    not (WEIGHTS.is_file() and PICTURES.is_dir()), reason="no coco-subset and weights; say where with SECATEUR_SHARED"
)


def exported(checkpoint: Path, yolo: Yolo, out: Path, imgsz: int = IMGSZ) -> Path:
    yolo.export_onnx(checkpoint, imgsz, out / "net.onnx")
    return out / "net.onnx"


def drawn(shapes: Path) -> list[np.ndarray]:
    """Of several sizes, so that they are scaled and padded on either side."""
    paths = sorted((shapes.parent / "images" / "val").iterdir())
    sizes = [(64, 64), (90, 51), (47, 128), (64, 33)]
    return [np.asarray(Image.open(path).convert("RGB").resize(size)) for path, size in zip(paths, sizes, strict=False)]


def found_by_ultralytics(model: Path, pixels: np.ndarray, **settings: Any) -> Any:
    return YOLO(str(model)).predict(pixels[..., ::-1].copy(), verbose=False, **settings)[0]


MOST: dict[str, Any] = {"iou": 0.98, "max_det": 20}
"""Boxes of nets with random weights lie on one another."""


def assert_same(ours: Detections, theirs: Any, least_iou: float = 0.98) -> None:
    """The same classes in the same order, boxes within 1 px, masks nearly alike."""
    assert ours.labels.tolist() == theirs.boxes.cls.int().tolist()
    np.testing.assert_allclose(ours.scores, theirs.boxes.conf.numpy(), atol=1e-3)
    np.testing.assert_allclose(ours.boxes, theirs.boxes.xyxy.numpy(), atol=1)
    if ours.masks is not None and len(ours):
        assert ious(ours.masks, theirs.masks.data.numpy() > 0).min() >= least_iou


def ious(masks: np.ndarray, others: np.ndarray) -> np.ndarray:
    return (masks & others).sum((1, 2)) / (masks | others).sum((1, 2))


def confidence_for(model: Path, pixels: np.ndarray, most: int) -> float:
    """At which a net with random weights finds many, and not everything."""
    session = Onnxruntime().open(model)
    predictor = Predictor(session)
    rows = predictor.run(predictor.preprocess(pixels)[0])[0][0]
    return float(np.sort(rows[4 : 4 + len(predictor.names)].max(0))[-most])


@pytest.mark.parametrize("retina", [True, False], ids=["the picture's pixels", "the net's pixels"])
def test_a_net_that_segments_gives_what_ultralytics_predictor_finds(retina: bool, seg_onnx: Path, shapes: Path) -> None:
    for pixels in drawn(shapes):
        if not retina:
            pixels = np.asarray(Image.fromarray(pixels).resize((IMGSZ, IMGSZ)))
        confidence = confidence_for(seg_onnx, pixels, 40)
        ours = open_predictor(seg_onnx, Onnxruntime(), confidence=confidence, **MOST)(pixels)

        theirs = found_by_ultralytics(seg_onnx, pixels, conf=confidence, retina_masks=retina, **MOST)

        assert len(ours) > 0
        assert_same(ours, theirs)


def test_a_trained_net_gives_what_ultralytics_predictor_finds(
    trained_checkpoint: Path, easy_shapes: Path, yolo: Yolo, tmp_path: Path
) -> None:
    model = exported(trained_checkpoint, yolo, tmp_path)
    predictor = open_predictor(model, Onnxruntime(), confidence=0.1)

    found = 0
    for path in sorted((easy_shapes.parent / "images" / "val").iterdir()):
        ours = predictor(read_picture(path))
        assert_same(ours, found_by_ultralytics(model, read_picture(path), conf=0.1, retina_masks=True))
        found += len(ours)
    assert found > 5


def test_a_detector_gives_what_ultralytics_predictor_finds_and_no_masks(
    detect_checkpoint: Path, shapes: Path, yolo: Yolo, tmp_path: Path
) -> None:
    model = exported(detect_checkpoint, yolo, tmp_path)
    for pixels in drawn(shapes):
        confidence = confidence_for(model, pixels, 40)
        ours = open_predictor(model, Onnxruntime(), confidence=confidence, **MOST)(pixels)

        assert ours.masks is None
        assert len(ours) > 0
        assert_same(ours, found_by_ultralytics(model, pixels, conf=confidence, **MOST))


@pytest.mark.parametrize("architecture", ["yolo11n.yaml", "yolo26n-seg.yaml", "yolo26n.yaml"])
def test_the_other_families_give_what_ultralytics_predictor_finds(
    architecture: str, shapes: Path, yolo: Yolo, tmp_path: Path
) -> None:
    model = exported(random_checkpoint(architecture, tmp_path / "net.pt", yolo, shapes), yolo, tmp_path)
    for pixels in drawn(shapes)[:2]:
        ours = open_predictor(model, Onnxruntime(), confidence=0.0, **MOST)(pixels)
        theirs = found_by_ultralytics(model, pixels, conf=0.0, retina_masks=True, **MOST)

        assert len(ours) > 0
        assert_same(ours, theirs)


@real
@pytest.mark.slow
def test_real_pictures_give_what_ultralytics_predictor_finds(yolo: Yolo, tmp_path: Path) -> None:
    model = exported(WEIGHTS, yolo, tmp_path, imgsz=640)
    predictor = open_predictor(model, Onnxruntime())
    for path in sorted((PICTURES / "images" / "val2017").iterdir())[:12]:
        assert_same(predictor(read_picture(path)), found_by_ultralytics(model, read_picture(path), retina_masks=True))


def test_only_the_wanted_classes_are_found(seg_onnx: Path, shapes: Path) -> None:
    pixels = drawn(shapes)[0]
    confidence = confidence_for(seg_onnx, pixels, 60)
    every = open_predictor(seg_onnx, Onnxruntime(), confidence=confidence)
    wanted = every.names[int(every(pixels).labels[0])]

    some = open_predictor(seg_onnx, Onnxruntime(), confidence=confidence, classes=[wanted])(pixels)

    assert {every.names[label] for label in some.labels} == {wanted}
    assert_same(some, found_by_ultralytics(seg_onnx, pixels, conf=confidence, classes=some.labels[:1].tolist(),
                                           retina_masks=True))  # fmt: skip


def test_a_class_the_net_does_not_know_is_told_with_those_it_knows(seg_onnx: Path) -> None:
    for name in ("triangel", "5"):
        with pytest.raises(SpecError, match=rf"no class named '{name}'; there are 0, 1, 2, 3, 4"):
            open_predictor(seg_onnx, Onnxruntime(), classes=[name])


class Given:
    """A session whose outputs are what the test says."""

    def __init__(self, *outputs: np.ndarray, shape: tuple[int, ...] = (1, 3, 64, 64), **metadata: str) -> None:
        self.outputs, self.input_shape, self.metadata = outputs, shape, metadata

    def run(self, image: np.ndarray) -> Sequence[np.ndarray]:
        assert image.shape == self.input_shape
        return self.outputs


def one_box(batch: int = 1) -> np.ndarray:
    """(batch, 4 + 2, 8): one of eight anchors is sure of class 1."""
    rows = np.zeros((batch, 6, 8), np.float32)
    rows[:, :, 3] = [32, 32, 20, 10, 0.1, 0.9]
    return rows


def test_boxes_come_in_the_pictures_own_pixels() -> None:
    found = Predictor(Given(one_box(), names="{0: 'a', 1: 'b'}"))(np.zeros((64, 128, 3), np.uint8))

    assert found.boxes.tolist() == [[44, 22, 84, 42]]  # by hand: scale 2, 16 px of padding above
    assert found.labels.tolist() == [1]
    assert found.scores.tolist() == [pytest.approx(0.9)]


def test_a_file_of_a_larger_batch_sees_the_picture_so_many_times() -> None:
    found = Predictor(Given(one_box(4), shape=(4, 3, 64, 64)))(np.zeros((64, 64, 3), np.uint8))

    assert len(found) == 1


def test_a_net_may_look_at_rectangles() -> None:
    found = Predictor(Given(one_box(), shape=(1, 3, 64, 128)))(np.zeros((64, 128, 3), np.uint8))

    assert found.boxes.tolist() == [[22, 27, 42, 37]]


def test_a_net_without_names_numbers_its_classes() -> None:
    predictor = Predictor(Given(one_box()))

    assert predictor.names == ()
    assert predictor.name(int(predictor(np.zeros((64, 64, 3), np.uint8)).labels[0])) == "1"


@pytest.mark.parametrize("names", ["no dict", "{0: 'a', 2: 'b'}", "__import__('os')", "3"])
def test_names_that_are_no_list_are_told(names: str) -> None:
    with pytest.raises(ExportError, match="no list of names"):
        names_of({"names": names})


def test_another_task_is_refused() -> None:
    with pytest.raises(ExportError, match=r"task is 'pose'.*detect and segment"):
        Predictor(Given(one_box(), task="pose"))


def test_outputs_of_another_net_are_told_by_their_shapes() -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)

    with pytest.raises(ExportError, match=r"\(6, 8\).*3 classes"):
        Predictor(Given(one_box(), names="{0: 'a', 1: 'b', 2: 'c'}"))(pixels)
    with pytest.raises(ExportError, match=r"\(1, 1000\)"):
        Predictor(Given(np.zeros((1, 1000), np.float32)))(pixels)


def test_a_dynamic_file_is_used_at_the_size_it_says(seg_onnx: Path, shapes: Path, tmp_path: Path) -> None:
    model = onnx.load(seg_onnx)
    for axis, name in ((2, "height"), (3, "width")):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    onnx.save(model, tmp_path / "dynamic.onnx")

    assert len(open_predictor(tmp_path / "dynamic.onnx", Onnxruntime(), confidence=0)(drawn(shapes)[0])) > 0


@pytest.mark.parametrize("size", [(0, 5), (5, 0)])
def test_a_picture_without_pixels_is_told(size: tuple[int, int]) -> None:
    with pytest.raises(StageError, match="nothing to look at"):
        Predictor(Given(one_box()))(np.zeros((*size, 3), np.uint8))


@pytest.mark.parametrize("size", [(1, 300), (300, 1), (1, 1)])
def test_a_picture_a_pixel_wide_is_looked_at(size: tuple[int, int], seg_onnx: Path) -> None:
    found = open_predictor(seg_onnx, Onnxruntime(), confidence=0.0)(np.zeros((*size, 3), np.uint8))

    assert found.masks is not None
    assert found.masks.shape[1:] == size
    assert (found.boxes <= [size[1], size[0]] * 2).all()


def test_the_place_in_a_square_is_the_place_in_a_rectangle() -> None:
    assert place(64, 128, 64).top == 16
