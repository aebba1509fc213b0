import os
import subprocess
import sys
from pathlib import Path

import pytest

from secateur import plugins

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "secateur"
TRAINING = {"torch", "torchvision", "ultralytics", "torch_pruning", "mlflow", "hydra", "omegaconf"}
HEAVY = {
    "torch",
    "torchvision",
    "ultralytics",
    "torch_pruning",
    "mlflow",
    "nncf",
    "onnx",
    "onnxruntime",
    "pandas",
    "matplotlib",
    "altair",
    "vl_convert",
}
SECATEUR = Path(sys.executable).with_name("secateur")


def modules(folder: str) -> list[str]:
    return [f"secateur.{folder}.{path.stem}" for path in sorted((PACKAGE / folder).glob("*.py"))]


def imported_by(*arguments: str, folder: Path) -> set[str]:
    """Top-level names that a fresh process imports, told by Python itself; it starts in `folder`."""
    command = [sys.executable, "-X", "importtime", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder, check=False)
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    assert "Traceback" not in done.stderr
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


@pytest.mark.parametrize("name", [*modules("edge"), "secateur.runtimes.onnxruntime", "secateur.results"])
def test_what_goes_to_the_device_imports_no_training_stack(name: str, tmp_path: Path) -> None:
    seen = imported_by("-c", f"import {name}", folder=tmp_path)

    assert "secateur" in seen
    assert seen & TRAINING == set()


def test_opening_a_model_file_imports_no_training_stack(tmp_path: Path) -> None:
    code = "from secateur.runtimes.onnxruntime import Onnxruntime; Onnxruntime().version()"
    seen = imported_by("-c", code, folder=tmp_path)

    assert "onnxruntime" in seen
    assert seen & TRAINING == set()


def test_what_reads_results_imports_no_training_stack(tmp_path: Path) -> None:
    code = "import " + ", ".join(modules("reporting"))

    assert imported_by("-c", code, folder=tmp_path) & TRAINING == set()


def test_listing_and_loading_all_parts_is_light(tmp_path: Path) -> None:
    parts = [(kind, name) for kind in plugins.FOLDERS for name in plugins.names(kind)]
    code = f"from secateur import plugins; [plugins.load(*part) for part in {parts!r}]"

    assert imported_by("-c", code, folder=tmp_path) & HEAVY == set()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["doctor", "--help"],
        ["run", "importance=magnitud"],
        ["run", "schedul=linear"],
        ["run", "schedule.target=2"],
        ["run", "dataset=yolo_folder", "dataset.root=/nowhere"],
    ],
    ids=" ".join,
)
def test_help_and_a_mistyped_override_import_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    seen = imported_by(str(SECATEUR), *arguments, folder=tmp_path)

    assert "typer" in seen
    assert seen & HEAVY == set()


def test_the_contracts_of_who_may_import_whom_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    environment = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(
        [linter, "--no-logo", "--no-cache"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout[-3000:]
    assert " 0 broken" in done.stdout


def test_every_test_file_stands_where_its_source_does() -> None:
    sources = {path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py")}
    folders = {source.parent for source in sources}

    for path in (ROOT / "tests").glob("*/**/test_*.py"):
        assert path.relative_to(ROOT / "tests").parent in folders
