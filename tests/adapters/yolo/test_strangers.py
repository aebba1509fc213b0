"""Checkpoints and data yamls that a stranger wrote: they run nothing, and those that need not be feared just open."""

import copy
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from ultralytics import YOLO

from secateur.adapters.yolo import checkpoint, door
from secateur.adapters.yolo.door import Yolo
from secateur.errors import SpecError, StageError
from tests.conftest import IMGSZ

ROOT = Path(__file__).parents[3]
SHARED = Path(os.environ.get("SECATEUR_SHARED", ROOT.parent / "shared")) / "weights" / "yolov8n-seg-coco.pt"


class Program:
    """What unpickling makes of it is a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (f"open({str(self.mark)!r}, 'w')",)


class Method:
    """A way to what a known class has, but no net is built of."""

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (torch.nn.Conv2d, "__init__")


Write = Callable[[Path, Path, Path], None]
"""The file, the mark that shows that it was run, and a checkpoint that is as it should be."""


def alone(out: Path, mark: Path, good: Path) -> None:
    torch.save({"model": Program(mark)}, out)


def within_a_net(out: Path, mark: Path, good: Path) -> None:
    net = copy.deepcopy(checkpoint.load(good))
    net.note = Program(mark)
    torch.save({"model": net, "ema": None, "train_args": {}}, out)


def of_another_protocol(out: Path, mark: Path, good: Path) -> None:
    torch.save({"model": Program(mark)}, out, pickle_protocol=4)


def by_a_known_class(out: Path, mark: Path, good: Path) -> None:
    torch.save({"model": Method()}, out)


def in_the_old_format(out: Path, mark: Path, good: Path) -> None:
    torch.save({"model": Program(mark)}, out, _use_new_zipfile_serialization=False)


def as_a_pickle(out: Path, mark: Path, good: Path) -> None:
    out.write_bytes(pickle.dumps(Program(mark)))


NAMED = "it names builtins.exec, of which no Ultralytics net is made"
UNNAMED = "it does more than build an Ultralytics net"
BARE = "it is a bare pickle, as before torch 1.6; save it anew, or"


@pytest.mark.parametrize(
    ("write", "what"),
    [
        (alone, NAMED),
        (within_a_net, NAMED),
        (of_another_protocol, UNNAMED),
        (by_a_known_class, UNNAMED),
        (in_the_old_format, BARE),
        (as_a_pickle, BARE),
    ],
)
def test_a_checkpoint_that_could_run_code_is_refused_and_runs_nothing(
    write: Write, what: str, yolo: Yolo, seg_checkpoint: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    write(tmp_path / "best.pt", tmp_path / "mark", seg_checkpoint)

    with pytest.raises(StageError) as refusal:
        yolo.resolve_weights("model.weights", str(tmp_path / "best.pt"))

    start, _, end = str(refusal.value).partition(what)
    assert start == f"model.weights: {tmp_path}/best.pt could run code: "
    assert end.lstrip(";,") == " if you trust whoever made it, add --trust"
    assert not (tmp_path / "mark").exists()
    assert recwarn.list == []


def test_several_that_are_not_known_are_counted(yolo: Yolo, tmp_path: Path) -> None:
    torch.save({"model": Program(tmp_path), "more": [os.getcwd, subprocess.Popen]}, tmp_path / "best.pt")

    with pytest.raises(StageError, match=r"it names builtins\.exec and 2 more, of which no Ultralytics net is made; "):
        checkpoint.load(tmp_path / "best.pt")


def test_a_torchscript_is_told_from_a_checkpoint(yolo: Yolo, tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.SiLU()), tmp_path / "net.pt")

    with pytest.raises(StageError, match="is no Ultralytics checkpoint: a TorchScript archive, not an Ultralytics"):
        checkpoint.load(tmp_path / "net.pt")


# ---- what need not be feared ----------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["yolov8n-seg", "yolov8n", "yolo11n-seg", "yolo11n", "yolo26n-seg", "yolo26n"])
def test_a_net_of_a_supported_family_as_ultralytics_saves_it_opens_without_a_question(
    architecture: str, yolo: Yolo, tmp_path: Path
) -> None:
    net = YOLO(f"{architecture}.yaml")
    net.save(tmp_path / "net.pt")

    opened = checkpoint.load(yolo.resolve_weights("model.weights", str(tmp_path / "net.pt")))

    assert opened.state_dict().keys() == net.model.state_dict().keys()


def test_what_a_pruning_leaves_opens_without_a_question(yolo: Yolo, pruned_checkpoint: Path) -> None:
    assert checkpoint.load(pruned_checkpoint).task == "segment"


def test_what_ultralytics_itself_trained_opens_without_a_question(yolo: Yolo, shapes: Path, tmp_path: Path) -> None:
    killed = tmp_path / "killed.pt"  # with its optimizer; what ends well is stripped of it
    net = YOLO("yolov8n-seg.yaml")
    net.add_callback("on_model_save", lambda trainer: shutil.copy(trainer.last, killed))
    net.train(data=str(shapes), epochs=1, imgsz=IMGSZ, batch=8, workers=0, plots=False, project=str(tmp_path))

    (ended,) = tmp_path.rglob("best.pt")
    assert [checkpoint.load(path).task for path in (ended, killed)] == ["segment", "segment"]
    assert torch.load(killed, weights_only=False)["optimizer"]


@pytest.mark.skipif(not SHARED.is_file(), reason=f"needs {SHARED}")
def test_what_ultralytics_publishes_opens_without_a_question(yolo: Yolo) -> None:
    assert len(checkpoint.load(SHARED).names) == 80


# ---- who decides ----------------------------------------------------------------------------------

OPENED = """
import sys
from pathlib import Path
import ultralytics  # before the door, as a notebook may have it
from secateur.adapters.yolo import open_yolo

folder, weights, trust = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "trust"
open_yolo("cpu", 0, folder, trust).resolve_weights("model.weights", weights)
"""


@pytest.mark.parametrize("trust", ["trust", "no trust"])
def test_only_a_door_that_trusts_opens_it_whoever_imported_ultralytics_before(
    trust: str, yolo: Yolo, seg_checkpoint: Path, tmp_path: Path
) -> None:
    within_a_net(tmp_path / "best.pt", tmp_path / "mark", seg_checkpoint)
    kept = {key: value for key, value in os.environ.items() if key != "ULTRALYTICS_SAFE_LOAD"}
    command = [sys.executable, "-c", OPENED, str(tmp_path / "door"), str(tmp_path / "best.pt"), trust]

    done = subprocess.run(command, env=kept, capture_output=True, text=True, check=False)

    assert (tmp_path / "mark").exists() == (trust == "trust")
    assert done.returncode == (0 if trust == "trust" else 1)


# ---- data yamls -----------------------------------------------------------------------------------


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data yaml whose pictures are not there, with a program to download them; named as one that is published."""
    said = {"path": "nowhere", "train": "train", "val": "val", "names": ["a"]}
    (tmp_path / "coco8-seg.yaml").write_text(yaml.safe_dump(said | {"download": f"open({f'{tmp_path}/mark'!r}, 'w')"}))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "coco8-seg.yaml"


@pytest.mark.parametrize("named", ["{folder}/coco8-seg.yaml", "./coco8-seg.yaml", "http://there.invalid/coco8.yaml"])
def test_a_data_yaml_that_ultralytics_does_not_publish_downloads_nothing(named: str, yolo: Yolo, foreign: Path) -> None:
    name = named.format(folder=foreign.parent)

    with pytest.raises(SpecError, match=f"dataset.yaml: Ultralytics publishes no data set '{name}'") as refusal:
        yolo.dataset(name)

    assert str(refusal.value).endswith("pictures of your own are taken with dataset=yolo_folder dataset.root=…")
    assert not (foreign.parent / "mark").exists()


def test_a_file_that_is_named_as_a_published_data_yaml_does_not_stand_in_for_it(
    yolo: Yolo, foreign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []
    monkeypatch.setattr(door, "check_det_dataset", lambda path: opened.append(path) or {})

    yolo.dataset("coco8-seg.yaml")

    (path,) = opened
    assert path.parent.parts[-2:] == ("cfg", "datasets")
    assert path != foreign


def test_a_data_set_that_is_nearly_published_is_suggested(yolo: Yolo) -> None:
    with pytest.raises(SpecError, match=r"no data set 'coco8-sge\.yaml'; did you mean 'coco8-seg\.yaml'\?; pictures"):
        yolo.dataset("coco8-sge.yaml")
