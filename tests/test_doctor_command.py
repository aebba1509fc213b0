"""`secateur doctor` without a model, through the real command."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from secateur import cli

Doctor = Callable[..., tuple[int, str, str]]


@pytest.fixture
def doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Doctor:
    """The command in an empty folder: its exit code, and what it wrote to stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["secateur", "doctor", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    return run


def test_a_fit_machine_is_told_so_and_left_as_it_is(doctor: Doctor, tmp_path: Path) -> None:
    code, told, _ = doctor()

    assert code == 0
    assert told.rstrip().endswith("No problem was found.")
    assert list(tmp_path.iterdir()) == []


def test_a_problem_is_told_with_its_remedy_and_ends_with_2(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "outputs").touch()

    code, told, _ = doctor("--json")

    found = {check["name"]: check for check in json.loads(told)["checks"]}
    assert code == 2
    assert found["outputs"]["state"] == "problem"
    assert "outputs=…" in found["outputs"]["remedy"]


def test_outputs_and_where_runs_are_tracked_can_be_named(doctor: Doctor, tmp_path: Path) -> None:
    told = doctor("--json", "--outputs", "mine")[1]

    found = {check["name"]: check["text"] for check in json.loads(told)["checks"]}
    assert found["outputs"].startswith(f"{tmp_path}/mine, ")
    assert found["mlflow"].startswith("sqlite:///mine/mlflow.db ")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--data", "d.yaml"], "--data d.yaml is for a model file: name one: secateur doctor model.onnx"),
        (["--threads", "0"], "--threads 0 is for a model file: name one: secateur doctor model.onnx"),
        (["m.onnx", "--uri", "http://x"], "--uri http://x is for the machine: leave out m.onnx"),
    ],
)
def test_what_is_for_the_other_use_is_refused(arguments: list[str], line: str, doctor: Doctor) -> None:
    assert doctor(*arguments) == (2, "", f"secateur: {line}\n")
