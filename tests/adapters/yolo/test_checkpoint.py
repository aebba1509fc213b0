import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ultralytics import YOLO

from secateur.adapters.yolo import checkpoint
from secateur.adapters.yolo.door import Yolo
from secateur.errors import StageError
from tests.conftest import IMGSZ

WITHOUT_SECATEUR = """
import sys

class Forbid:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "secateur":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Forbid())
import torch
from ultralytics import YOLO

weights, picture, boxes = sys.argv[1:]
found = YOLO(weights).predict(torch.load(picture), conf=0.0, imgsz=64, verbose=False)
torch.save((found[0].boxes.data, found[0].masks.data), boxes)
assert "secateur" not in sys.modules
"""


def test_plain_ultralytics_predicts_the_same_with_a_pruned_checkpoint_where_secateur_is_not_installed(
    pruned_checkpoint: Path, tmp_path: Path
) -> None:
    picture = torch.rand(1, 3, IMGSZ, IMGSZ, generator=torch.Generator().manual_seed(0))
    torch.save(picture, tmp_path / "picture.pt")
    here = YOLO(pruned_checkpoint).predict(picture, conf=0.0, imgsz=IMGSZ, verbose=False)[0]

    command = [sys.executable, "-c", WITHOUT_SECATEUR, pruned_checkpoint, tmp_path / "picture.pt", tmp_path / "out.pt"]
    subprocess.run(command, check=True, cwd=tmp_path, env=os.environ | {"YOLO_CONFIG_DIR": str(tmp_path)})

    boxes, masks = torch.load(tmp_path / "out.pt")
    assert len(boxes)
    torch.testing.assert_close(boxes, here.boxes.data)
    torch.testing.assert_close(masks, here.masks.data)


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

    with pytest.raises(
        StageError, match=r"^model\.weights: \S+broken\.pt is no Ultralytics checkpoint: .+$"
    ) as refusal:
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
    assert yolo.resolve_weights(str(seg_checkpoint)) == seg_checkpoint


@pytest.mark.parametrize("weights", ["nowhere/yolov8n-seg.pt", "yolov8q-seg.pt"])
def test_weights_that_are_no_file_and_no_published_name_are_refused(yolo: Yolo, weights: str) -> None:
    with pytest.raises(StageError, match=f"no file '{weights}'"):
        yolo.resolve_weights(weights)
