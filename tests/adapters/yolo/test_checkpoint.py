import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from ultralytics import YOLO

from secateur.adapters.yolo import checkpoint
from secateur.adapters.yolo.door import Yolo
from secateur.datasets.shapes import Shapes
from secateur.errors import SpecError, StageError
from secateur.specs import Distillation
from tests.conftest import IMGSZ, no_progress, prune, random_checkpoint

WITHOUT_SECATEUR = """
import sys

class Forbid:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "secateur":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Forbid())
import torch
from ultralytics import YOLO

weights, data, picture = sys.argv[1:]
found = YOLO(weights).predict(torch.load(picture), conf=0.0, imgsz=64, verbose=False)[0]
scores = YOLO(weights).val(data=data, imgsz=64, rect=False, batch=16, workers=0, plots=False, verbose=False)
YOLO(weights).export(format="onnx", imgsz=64, verbose=False)
torch.save((found.boxes.data, found.masks.data, float(scores.box.map), float(scores.seg.map)), "found.pt")
assert "secateur" not in sys.modules
"""


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory, yolo: Yolo, trained_checkpoint: Path) -> Path:
    """A net that finds something, with 0.15 of its MACs gone."""
    out = tmp_path_factory.mktemp("pruned") / "pruned.pt"
    yolo.save(prune(yolo, yolo.load(trained_checkpoint), target=0.15), out)
    return out


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory, pruned: Path, easy_shapes: Path) -> Path:
    """What stock Ultralytics makes of it where secateur is not installed: found.pt, pruned.onnx."""
    folder = tmp_path_factory.mktemp("elsewhere")
    shutil.copy(pruned, folder)
    shutil.copytree(easy_shapes.parent, folder / "data")  # it leaves its caches beside the labels
    torch.save(picture(), folder / "picture.pt")
    command = [sys.executable, "-c", WITHOUT_SECATEUR, "pruned.pt", "data/data.yaml", "picture.pt"]
    subprocess.run(command, check=True, cwd=folder, env=os.environ | {"YOLO_CONFIG_DIR": str(folder)})
    return folder


def picture() -> torch.Tensor:
    return torch.rand(1, 3, IMGSZ, IMGSZ, generator=torch.Generator().manual_seed(0))


def test_plain_ultralytics_predicts_the_same_where_secateur_is_not_installed(pruned: Path, elsewhere: Path) -> None:
    here = YOLO(pruned).predict(picture(), conf=0.0, imgsz=IMGSZ, verbose=False)[0]

    boxes, masks, *_ = torch.load(elsewhere / "found.pt")
    assert len(boxes)
    torch.testing.assert_close(boxes, here.boxes.data)
    torch.testing.assert_close(masks, here.masks.data)


def test_plain_ultralytics_scores_the_same_where_secateur_is_not_installed(
    yolo: Yolo, pruned: Path, easy_shapes: Path, elsewhere: Path
) -> None:
    here = yolo.evaluate(pruned, easy_shapes, IMGSZ, no_progress).accuracy

    *_, box, mask = torch.load(elsewhere / "found.pt")
    assert here.mask_map50_95
    assert (box, mask) == pytest.approx((here.box_map50_95, here.mask_map50_95))


def test_plain_ultralytics_exports_the_same_where_secateur_is_not_installed(
    yolo: Yolo, pruned: Path, elsewhere: Path, tmp_path: Path
) -> None:
    yolo.export_onnx(pruned, IMGSZ, tmp_path / "pruned.onnx")

    for here, there in zip(*map(outputs, (tmp_path / "pruned.onnx", elsewhere / "pruned.onnx")), strict=True):
        np.testing.assert_allclose(there, here, rtol=1e-4, atol=1e-4)


def test_a_net_that_is_exported_again_is_the_same_file(yolo: Yolo, pruned: Path, tmp_path: Path) -> None:
    for name in ("once", "again"):
        yolo.export_onnx(pruned, IMGSZ, tmp_path / name)

    assert (tmp_path / "once").read_bytes() == (tmp_path / "again").read_bytes()


def outputs(model: Path) -> list[Any]:
    session = onnxruntime.InferenceSession(model)
    return session.run(None, {session.get_inputs()[0].name: picture().numpy()})


def test_a_net_comes_back_as_it_was_saved_but_for_half_precision(yolo: Yolo, seg_checkpoint: Path, tmp_path: Path):
    net = checkpoint.load(seg_checkpoint)
    with torch.no_grad():
        net.model[0].conv.weight.add_(1 / 3)

    checkpoint.save(net, tmp_path / "again.pt")

    again = checkpoint.load(tmp_path / "again.pt")
    expected = {name: values.half().float() for name, values in net.float().state_dict().items()}
    torch.testing.assert_close({name: values.float() for name, values in again.state_dict().items()}, expected)
    assert (again.names, again.task) == (net.names, "segment")


def test_saving_leaves_the_net_as_it_is(yolo: Yolo, seg_checkpoint: Path, tmp_path: Path) -> None:
    net = yolo.load(seg_checkpoint)

    yolo.save(net, tmp_path / "out.pt")

    assert {p.dtype for p in net.parameters()} == {torch.float32}


def test_the_same_net_is_saved_as_the_same_bytes(yolo: Yolo, seg_checkpoint: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        yolo.save(yolo.load(seg_checkpoint), tmp_path / folder / "net.pt")

    first, second = (hashlib.sha256((tmp_path / f / "net.pt").read_bytes()).hexdigest() for f in ("a", "b"))
    assert first == second


@pytest.mark.parametrize("kept", [0, 100, 100_000])
def test_a_truncated_checkpoint_is_refused_in_one_line(seg_checkpoint: Path, tmp_path: Path, kept: int) -> None:
    broken = tmp_path / "broken.pt"
    broken.write_bytes(seg_checkpoint.read_bytes()[:kept])

    with pytest.raises(StageError, match=r"^\S+broken\.pt is no Ultralytics checkpoint: .+$") as refusal:
        checkpoint.load(broken)
    assert "\n" not in str(refusal.value)


def test_a_state_dict_alone_is_refused(seg_checkpoint: Path, tmp_path: Path) -> None:
    torch.save(checkpoint.load(seg_checkpoint).state_dict(), tmp_path / "state.pt")

    with pytest.raises(StageError, match="is no Ultralytics checkpoint"):
        checkpoint.load(tmp_path / "state.pt")


def test_a_net_for_another_task_is_refused(yolo: Yolo, tmp_path: Path) -> None:
    YOLO("yolov8n-cls.yaml", task="classify").save(tmp_path / "cls.pt")

    with pytest.raises(StageError, match="is a net for 'classify'; secateur takes segment and detect"):
        yolo.load(tmp_path / "cls.pt")


def test_weights_are_the_file_itself_where_there_is_one(yolo: Yolo, seg_checkpoint: Path) -> None:
    assert yolo.resolve_weights("model.weights", str(seg_checkpoint)) == seg_checkpoint


@pytest.mark.parametrize("weights", ["nowhere/yolov8n-seg.pt", "yolov8q-seg.pt"])
def test_weights_that_are_no_file_and_no_published_name_are_refused(yolo: Yolo, weights: str) -> None:
    with pytest.raises(StageError, match=f"model.weights: no file '{weights}'"):
        yolo.resolve_weights("model.weights", weights)


@pytest.mark.parametrize(
    ("architecture", "what"),
    [
        ("yolov8n.yaml", "task is detect, not segment"),
        ("yolov8n-seg-p6.yaml", r"strides is \[8, 16, 32, 64\], not \[8, 16, 32\]"),
        ("yolo26n-seg.yaml", "number of box bins is 1, not 16"),
    ],
)
def test_a_teacher_whose_outputs_do_not_compare_is_refused(
    architecture: str, what: str, yolo: Yolo, seg_checkpoint: Path, shapes: Path, tmp_path: Path
) -> None:
    teacher = random_checkpoint(architecture, tmp_path / "teacher.pt", yolo, shapes)
    lesson = Distillation(labels=0.0, classes=1.0, boxes=1.0, masks=1.0)

    yolo.check_teaches(seg_checkpoint, seg_checkpoint, lesson)
    with pytest.raises(SpecError, match=f"^distillation.teacher: .*teacher.pt cannot teach .*: its {what}$"):
        yolo.check_teaches(teacher, seg_checkpoint, lesson)


def test_a_teacher_that_knows_other_classes_is_refused(yolo: Yolo, seg_checkpoint: Path, tmp_path: Path) -> None:
    Shapes(train=2, val=2, size=IMGSZ).write(tmp_path / "data", yolo)
    said = tmp_path / "data" / "data.yaml"
    said.write_text(said.read_text().replace("names:", "names:\n  5: blob"))
    teacher = random_checkpoint("yolov8n-seg.yaml", tmp_path / "teacher.pt", yolo, said)

    with pytest.raises(SpecError, match="its number of classes is 6, not 5"):
        yolo.check_teaches(teacher, seg_checkpoint, Distillation(classes=1.0))


def test_weights_that_know_other_classes_are_refused(yolo: Yolo, seg_checkpoint: Path) -> None:
    yolo.check_fits(seg_checkpoint, 5, "polygons")

    with pytest.raises(SpecError, match="seg.pt knows 5 classes, the data set has 4; give weights that were trained"):
        yolo.check_fits(seg_checkpoint, 4, "polygons")


def test_boxes_are_refused_for_a_net_that_segments(yolo: Yolo, seg_checkpoint: Path) -> None:
    with pytest.raises(SpecError, match="seg.pt segments, the data set's labels are boxes; take a detector, such as"):
        yolo.check_fits(seg_checkpoint, 5, "boxes")


@pytest.mark.parametrize("labels", ["boxes", "polygons"])
def test_a_detector_takes_boxes_and_polygons(yolo: Yolo, detect_checkpoint: Path, labels: str) -> None:
    yolo.check_fits(detect_checkpoint, 5, labels)


def test_a_checkpoint_remembers_the_image_size_it_was_made_for(
    yolo: Yolo, seg_checkpoint: Path, tmp_path: Path
) -> None:
    yolo.save(yolo.load(seg_checkpoint), tmp_path / "net.pt", 96)

    assert YOLO(tmp_path / "net.pt").overrides["imgsz"] == 96
