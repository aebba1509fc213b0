"""`--trust` and `--debug` reach whatever process does the work, and nothing but the command line sets them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from secateur import compose, run, switches
from secateur.errors import SpecError, StageError

SECATEUR = Path(sys.executable).with_name("secateur")

TINY = ["dataset.train=2", "dataset.val=2", "dataset.size=64", "imgsz=64", "tracking=none"]
UNCUTTABLE = ["scope.keep=[*]", "model.weights=best.pt"]
"""It ends early, but only once the checkpoint was opened and scored."""

NO_GROUP = "the net has no group of channels that may be pruned; allow some with scope.keep or scope.head"
REFUSED = "model.weights: best.pt could run code: it names builtins.exec, of which no Ultralytics net is made; "

COMMANDS = {
    "run": (["run"], "runs/*"),
    "sensitivity": (["sensitivity"], None),
    "sweep": (["run", "-m", "seed=1,2"], "sweeps/*/[01]"),
    "parallel sweep": (["run", "-m", "seed=1,2", "hydra/launcher=parallel"], "sweeps/*/[01]"),
    "search": (["search", "--trials", "1", *(f"search.space.{k}=null" for k in ("schedule", "scope", "imgsz"))],
               "searches/*/0"),
}  # fmt: skip


class Program:
    """What unpickling makes of it is a file, `mark`."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("open('mark', 'w')",)


@pytest.fixture
def folder(tmp_path: Path, seg_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a good net that does more than it should when it is opened."""
    import torch

    from secateur.adapters.yolo import checkpoint

    net = checkpoint.load(seg_checkpoint)
    net.note = Program()
    torch.save({"model": net, "ema": None, "train_args": {}}, tmp_path / "best.pt")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(folder: Path, name: str, *flags: str) -> tuple[str, list[str]]:
    """All that the command and its jobs say to their standard errors, and what the reports of the runs say."""
    words, reports = COMMANDS[name]
    command = [SECATEUR, *words, *TINY, *UNCUTTABLE, *flags]
    exported = {switches.TRUST: "1", switches.DEBUG: "1"}
    done = subprocess.run(command, env=os.environ | exported, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    consoles = [path.read_text() for path in sorted(folder.glob("outputs/*/*/*/console.log"))]
    told = [json.loads(path.read_text()) for path in sorted(folder.glob(f"outputs/{reports}/report.json"))]
    return "\n".join([done.stderr, *consoles]), [report["run"]["error"] for report in told]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["run", "sweep"])
def test_what_could_run_code_is_refused_in_one_line_whatever_the_environment_says(name: str, folder: Path) -> None:
    stderr, errors = said(folder, name)

    assert REFUSED in stderr
    assert "Traceback" not in stderr
    assert len(errors) == (2 if name == "sweep" else 1)
    assert all(error.startswith(REFUSED) for error in errors)
    assert not (folder / "mark").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_trust_and_debug_reach_every_process(name: str, folder: Path) -> None:
    stderr, errors = said(folder, name, "--trust", "--debug")

    assert (folder / "mark").exists()
    assert set(errors) <= {NO_GROUP}
    assert bool(errors) == (COMMANDS[name][1] is not None)
    assert "Traceback (most recent call last):" in stderr
    assert f"secateur.errors.GraphError: {NO_GROUP}" in stderr
    assert f"secateur: {NO_GROUP}" not in stderr


@pytest.mark.slow
def test_what_was_found_out_with_trust_has_the_keys_that_it_always_has_and_says_how_to_repeat_it(folder: Path) -> None:
    said(folder, "run", "--trust")
    records = [json.loads(line) for path in folder.glob("outputs/runs/*/records.jsonl") for line in path.open()]

    assert records
    assert "trust" not in json.dumps(records).lower()
    (report,) = folder.glob("outputs/runs/*/report.json")
    assert json.loads(report.read_text())["run"]["command"].startswith("secateur run --trust ")


@pytest.mark.slow
def test_from_python_it_is_asked_for_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(switches.TRUST, "1")
    spec = compose(*TINY[:-1], *UNCUTTABLE)

    with pytest.raises(StageError, match="could run code"):
        run(spec, tracking="none")
    assert not (folder / "mark").exists()

    with pytest.raises(StageError, match="no group of channels"):
        run(spec, trust=True, tracking="none")
    assert (folder / "mark").exists()


# ---- in one process -------------------------------------------------------------------------------


def test_the_environment_is_what_it_was_once_a_command_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(switches.DEBUG, "1")
    monkeypatch.delenv(switches.TRUST, raising=False)

    with switches.switched(debug=False):
        switches.trust()
        within = switches.handed_on()

    assert within == {switches.TRUST: "1"}
    assert os.environ[switches.DEBUG] == "1"
    assert switches.TRUST not in os.environ


def test_an_error_is_told_in_one_line_or_with_what_led_to_it() -> None:
    def told() -> str:
        try:
            try:
                raise OSError("no such disk")
            except OSError as error:
                raise SpecError("name another disk") from error
        except SpecError as error:
            return switches.told(error)

    with switches.switched(debug=False):
        line = told()
    with switches.switched(debug=True):
        text = told()

    assert line == "secateur: name another disk"
    assert text.startswith("Traceback (most recent call last):")
    assert "OSError: no such disk" in text
    assert text.endswith("SpecError: name another disk")
