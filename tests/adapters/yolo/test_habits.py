"""Of a fresh process with a home and a working folder of its own, since Ultralytics reads its settings at import."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from secateur.adapters.yolo.door import Yolo
from secateur.errors import SpecError

SCRIPT = """
import json, sys
from pathlib import Path
from secateur.adapters.yolo import open_yolo
from secateur.ports import Lesson, Watch
from secateur.specs import Distillation, Training

folder, weights, data, recipe, report = map(Path, sys.argv[1:])
yolo = open_yolo("cpu", 0, folder)
training = Training(**json.loads(recipe.read_text()))
watch = Watch(lambda *at: None, lambda epoch: None)
yolo.finetune(weights, Lesson(data, Distillation()), training, 64, 0, folder / "tuned.pt", watch)
yolo.evaluate(folder / "tuned.pt", data, 64, lambda *at: None)
yolo.export_onnx(folder / "tuned.pt", 64, folder / "model.onnx")

from ultralytics.utils import SETTINGS, SETTINGS_FILE, checks
report.write_text(json.dumps({
    "settings": dict(SETTINGS), "file": str(SETTINGS_FILE), "autoinstall": checks.AUTOINSTALL,
    "mlflow": "mlflow" in sys.modules,
}))
"""


@pytest.fixture(scope="module")
def stay(tmp_path_factory: pytest.TempPathFactory, detect_checkpoint: Path, shapes: Path, recipe) -> dict:
    """What a training, a scoring and an export left behind, and Ultralytics' settings meanwhile."""
    top = tmp_path_factory.mktemp("habits")
    for name in ("home", "work", "door", "temporary"):
        (top / name).mkdir()
    (top / "recipe.json").write_text(json.dumps(vars(recipe())))
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("YOLO", "ULTRALYTICS", "XDG"))}
    places = {"HOME": str(top / "home"), "TMPDIR": str(top / "temporary")}
    paths = [top / "door", detect_checkpoint, shapes, top / "recipe.json", top / "report.json"]
    command = [sys.executable, "-c", SCRIPT, *map(str, paths)]
    done = subprocess.run(command, check=True, cwd=top / "work", env=kept | places, capture_output=True, text=True)
    return json.loads((top / "report.json").read_text()) | {"top": top, "said": done.stdout}


def test_nothing_is_left_in_the_home_the_working_and_the_temporary_folder(stay: dict) -> None:
    left = [p for name in ("home", "work", "temporary") for p in (stay["top"] / name).rglob("*") if p.is_file()]

    assert not left


def test_settings_downloads_and_weights_stay_in_the_doors_folder(stay: dict) -> None:
    places = [stay["file"], *(stay["settings"][f"{name}_dir"] for name in ("datasets", "weights", "runs"))]

    assert all(Path(place).is_relative_to(stay["top"] / "door") for place in places)


def test_reporting_home_integrations_and_installing_are_off(stay: dict) -> None:
    on = [name for name, value in stay["settings"].items() if value is True]

    assert not set(on) & {"sync", "clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb"}
    assert not stay["autoinstall"]
    assert not stay["mlflow"]


def test_ultralytics_says_nothing(stay: dict) -> None:
    assert stay["said"] == ""


def test_a_device_that_is_not_there_is_refused(yolo: Yolo, tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")

    with pytest.raises(SpecError, match="device='cuda': no CUDA device is available here; use device=cpu"):
        Yolo("cuda", 0, tmp_path)
