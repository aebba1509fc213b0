from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from secateur.adapters.yolo.door import Yolo
from secateur.edge.fingerprint import fingerprint
from secateur.edge.predictor import Detections
from secateur.ports import Tools
from secateur.runtimes.onnxruntime import Onnxruntime
from secateur.specs import Timer
from secateur.stages import depict
from secateur.store import artifact
from tests.conftest import IMGSZ, no_progress


def depicted(model: Path, data: Path, out: Path, pictures: int = 3) -> depict.Outputs:
    without_nets: Any = {"detector": None, "pruner": None, "downloads": None}
    runtime = Onnxruntime(threads=1)
    timer = Timer(runtime, runtime.version(), fingerprint())
    inputs = depict.Inputs(artifact(model), timer, artifact(data), pictures, seed=0)
    return depict.run(inputs, Tools(**without_nets, progress=no_progress), out)


def found(*labels: int) -> Detections:
    """Each in a box of the right half of a picture of 640 x 320, which its mask fills."""
    mask = np.zeros((len(labels), 320, 640), bool)
    mask[:, :, 320:] = True
    boxes = np.tile(np.array([320, 0, 640, 320], np.float32), (len(labels), 1))
    return Detections(boxes, np.full(len(labels), 0.9, np.float32), np.array(labels, np.int32), mask)


def test_each_picture_is_small_and_told(seg_onnx: Path, shapes: Path, tmp_path: Path) -> None:
    samples = depicted(seg_onnx, shapes.parent, tmp_path).samples

    assert len({sample.picture for sample in samples}) == 3
    for sample in samples:
        with Image.open(sample.drawn.path) as picture:
            assert max(picture.size) <= depict.SIDE
        assert sample.found
        assert sample.drawn.path.stat().st_size < 60_000


def test_a_net_that_has_learnt_them_finds_and_draws_the_shapes(
    yolo: Yolo, trained_checkpoint: Path, easy_shapes: Path, tmp_path: Path
) -> None:
    yolo.export_onnx(trained_checkpoint, IMGSZ, tmp_path / "net.onnx")

    samples = depicted(tmp_path / "net.onnx", easy_shapes.parent, tmp_path, pictures=16).samples

    seen = [sample for sample in samples if sample.found != "nothing"]
    assert seen
    picture = easy_shapes.parent / "images" / "val" / seen[0].picture
    with Image.open(picture) as plain, Image.open(seen[0].drawn.path) as drawn:
        assert np.abs(np.asarray(plain, int) - np.asarray(drawn, int)).mean() > 5


def test_pictures_come_from_the_seed_and_those_with_objects_come_first(shapes: Path, tmp_path: Path) -> None:
    for place in ("images/val", "labels/val"):
        (tmp_path / place).mkdir(parents=True)
    for number in range(8):
        (tmp_path / f"images/val/{number}.jpg").touch()
        (tmp_path / f"labels/val/{number}.txt").write_text("0 0.5 0.5 0.1 0.1\n" if number in (2, 5) else "\n")

    first, again, other = (depict.drawn(tmp_path, 8, seed) for seed in (0, 0, 1))

    assert first == again != other
    assert {path.stem for path in first[:2]} == {"2", "5"}


def test_what_is_found_is_counted_by_class_the_most_first() -> None:
    assert depict.told(found(1, 0, 1), ("circle", "star").__getitem__) == "2 star, 1 circle"
    assert depict.told(found(), str) == "nothing"


def test_boxes_and_masks_shrink_with_their_picture() -> None:
    small, shrunk = depict.shrunk(np.zeros((320, 640, 3), np.uint8), found(0))

    assert small.shape == (160, 320, 3)
    assert shrunk.boxes.tolist() == [[160, 0, 320, 160]]
    assert shrunk.masks is not None
    assert shrunk.masks.shape == (1, 160, 320)
    assert shrunk.masks[0, :, 160:].all()
    assert not shrunk.masks[0, :, :160].any()


@pytest.mark.parametrize("size", [(64, 64), (48, 320)])
def test_a_small_picture_stays_as_it_is(size: tuple[int, int]) -> None:
    nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32), None)

    small, _ = depict.shrunk(np.zeros((*size, 3), np.uint8), nothing)

    assert small.shape[:2] == size
