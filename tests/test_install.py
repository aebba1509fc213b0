"""What a device gets: the base package alone, in an environment of its own, is small, starts fast and does its work."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from secateur.packing import pack
from tests.example_run import write_run

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
UV = Path(sys.executable).with_name("uv")
MOST_MB, MOST_SECONDS = 250, 0.5
TRAINING = ("torch", "torchvision", "ultralytics", "torch_pruning", "mlflow", "hydra", "omegaconf", "onnx", "cv2")


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh environment with `pip install secateur`."""
    if not UV.exists():
        pytest.skip(f"no uv at {UV}: make setup installs it")
    venv = tmp_path_factory.mktemp("device") / "venv"
    uv("venv", "--python", sys.executable, venv)
    asked = uv("pip", "install", "--dry-run", "--refresh-package", "numpy", "--python", venv, "numpy")
    if asked.returncode:
        pytest.skip(f"no index answers: {asked.stderr.strip()[-300:]}")
    done = uv("pip", "install", "--python", venv, ROOT)
    assert done.returncode == 0, done.stderr
    return venv / "bin"


def uv(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([UV, "--quiet", *arguments], capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    return Path(f"{pack(write_run(folder), folder / 'bundle', []).folder}.zip")


def say(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=cwd, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_small(device: Path) -> None:
    sizes = [path.lstat().st_size for path in (device.parent / "lib").rglob("*") if path.is_file()]

    assert sum(sizes) < MOST_MB * 1e6


def test_it_holds_no_training_stack(device: Path, tmp_path: Path) -> None:
    code = f"from importlib.util import find_spec; print([name for name in {TRAINING} if find_spec(name)])"

    assert say(device / "python", "-c", code, cwd=tmp_path) == "[]\n"


@pytest.mark.parametrize("module", ["secateur.edge.predictor", "secateur.cli.commands"])
def test_it_is_imported_fast(module: str, device: Path, tmp_path: Path) -> None:
    code = f"import time; import {module}; print(time.process_time())"  # of the whole process: a busy machine adds none
    seconds = [float(say(device / "python", "-c", code, cwd=tmp_path)) for _ in range(5)]  # the first compiles

    assert min(seconds) < MOST_SECONDS


def test_what_a_project_is_made_of_came_along(device: Path) -> None:
    (template,) = (device.parent / "lib").glob("python*/site-packages/secateur/template")

    files = {path.relative_to(template) for path in template.rglob("*") if path.suffix not in (".pyc", "")}
    assert {file.relative_to(ROOT / "template") for file in (ROOT / "template").rglob("*.*")} == files | {
        Path(".gitignore")
    }


def test_it_checks_and_times_a_bundle(device: Path, bundle: Path, tmp_path: Path) -> None:
    told = say(device / "secateur", "bench", bundle, "--json", "device.json", "--seconds", "1", cwd=tmp_path)

    report = json.loads((tmp_path / "device.json").read_text())
    assert "✓ pruned-int8_static gives what it should" in told
    assert all(found["latency"]["ms"]["p50"] > 0 for found in report["models"].values())


def test_it_predicts_with_a_bundle(device: Path, bundle: Path, tmp_path: Path) -> None:
    with ZipFile(bundle) as archive:
        picture = archive.extract("samples/0.png", tmp_path)

    told = say(device / "secateur", "predict", bundle, picture, "--json", "-", cwd=tmp_path)

    assert {found["name"] for found in json.loads(told)[0]["detections"]} <= {"cat", "dog"}


def test_it_says_that_it_is_fit_and_what_the_extras_would_bring(device: Path, tmp_path: Path) -> None:
    told = json.loads(say(device / "secateur", "doctor", "--json", cwd=tmp_path))

    found = {check["name"]: check for check in told["checks"]}
    assert told["problems"] == 0
    assert found["onnxruntime"]["state"] == "ok"
    assert (found["lab"]["state"], found["lab"]["remedy"]) == ("note", "pip install 'secateur[lab]'")
    assert {check["area"] for check in told["checks"]} == {"library", "extra", "processor", "place"}
