"""How runs end that are killed or interrupted: processes of their own, as a person starts them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from shutil import which

import psutil
import pytest

from experiments.chaos import Command, differences, disturbed, moments, report
from secateur.records import records_in
from tests.example_commands import BRIEF, FEW, by_number, in_the_group, politely, words_of

pytestmark = pytest.mark.slow

ONE_RUNG = "schedule=one_shot schedule.target=0.15".split()
UNTRACKED = "tracking=none"
KILLS = 4

INTERRUPTED = "secateur: interrupted; the same command goes on where it was\n"


@pytest.fixture(scope="module")
def tiny(detect_checkpoint: Path) -> list[str]:
    """A run of half a minute: one rung, tuned for two epochs, files in FP32 and INT8."""
    own = [f"model.weights={detect_checkpoint}", "finetune.epochs=2", "quantization.images=4"]
    return [*BRIEF, *FEW, *ONE_RUNG, *own]


@pytest.fixture(scope="module")
def undisturbed(tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its folder."""
    outputs = tmp_path_factory.mktemp("undisturbed")
    disturbed(lambda: Command([*tiny, UNTRACKED], outputs), [])
    (folder,) = (outputs / "runs").iterdir()
    return folder


# ---- SIGKILL --------------------------------------------------------------------------------------


def test_a_run_that_is_killed_again_and_again_ends_like_an_undisturbed_one(
    tiny: list[str], undisturbed: Path, tmp_path: Path
) -> None:
    seconds = [record["seconds"] for record in records_in(undisturbed)]
    at = moments(seconds, around=5.0, kills=KILLS, seed=1)

    kills = disturbed(lambda: Command([*tiny, UNTRACKED], tmp_path), at)

    last = max((tmp_path / "runs").iterdir(), key=lambda run: run.name)
    assert kills
    assert differences(undisturbed, last) == []


@pytest.mark.skipif(not which("faketime"), reason="needs faketime, of Debian's package of that name")
def test_a_clock_that_is_put_back_changes_no_durations_and_not_which_run_is_the_latest(
    tiny: list[str], undisturbed: Path
) -> None:
    outputs = undisturbed.parents[1]
    yesterday = ["env", "FAKETIME_DONT_FAKE_MONOTONIC=1", "faketime", "-f", "-1d"]
    again = Command([*tiny, UNTRACKED], outputs, before=yesterday)
    again.end()

    (folder,) = set((outputs / "runs").iterdir()) - {undisturbed}
    assert folder.name < undisturbed.name
    assert (outputs / "latest").resolve() == folder
    assert 0 < report(folder)["run"]["seconds"] < 600
    assert all(record["reused"] and 0 <= record["seconds"] < 60 for record in records_in(folder))


# ---- Ctrl-C ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Interrupted:
    """What an interrupted command left."""

    code: int
    said: str
    survivors: list[str]
    folder: Path | None
    half_made: list[Path]

    @property
    def status(self) -> str:
        assert self.folder
        told: str = report(self.folder)["run"]["status"]
        return told


def after(stage: str, label: str) -> Callable[[Command], bool]:
    """It is recorded, and the next is being done."""
    return lambda command: (stage, label) in command.stages


def timing(command: Command) -> bool:
    """The processes that are timed are there."""
    children = psutil.Process(command.process.pid).children()
    return any("secateur.edge.bench" in words_of(child) for child in children)


PHASES: dict[str, tuple[Callable[[Command], bool], Callable[[Command], None]]] = {
    "training": (after("evaluate", "pruned"), in_the_group),
    "calibration": (after("quantize", "baseline-fp32"), by_number),
    "a benchmark": (timing, in_the_group),
    "a benchmark, by SIGTERM": (timing, politely),
}
"""In the order in which a run comes to them, as each goes on where the one before was interrupted."""


@pytest.fixture(scope="module")
def interrupted(tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Interrupted]:
    outputs = tmp_path_factory.mktemp("interrupted")
    return {phase: interrupt(Command(tiny, outputs), *how) for phase, how in PHASES.items()}


def interrupt(command: Command, when: Callable[[Command], bool], how: Callable[[Command], None]) -> Interrupted:
    assert command.wait_until(lambda: when(command)), command.end()
    how(command)
    said = command.end()
    fresh = [folder for folder in command.folders() if folder not in command.found]
    half_made = [*command.outputs.rglob("*.part"), *_stages_half_made(command.outputs / "store" / ".tmp")]
    return Interrupted(command.process.returncode, said, command.survivors(), fresh[0] if fresh else None, half_made)


def _stages_half_made(place: Path) -> list[Path]:
    """Those that do not go on after a kill."""
    return [entry for entry in place.glob("*") if not (entry / "unfinished.pt").exists() and any(entry.iterdir())]


@pytest.mark.parametrize("phase", PHASES)
def test_ctrl_c_ends_a_run_with_its_record_and_one_line(phase: str, interrupted: dict[str, Interrupted]) -> None:
    end = interrupted[phase]

    assert (end.code, end.said, end.status) == (130, INTERRUPTED, "killed")


@pytest.mark.parametrize("phase", PHASES)
def test_ctrl_c_leaves_no_process_and_nothing_half_made(phase: str, interrupted: dict[str, Interrupted]) -> None:
    end = interrupted[phase]

    assert (end.survivors, end.half_made) == ([], [])


def test_mlflow_holds_what_was_interrupted_as_killed(interrupted: dict[str, Interrupted]) -> None:
    from mlflow import MlflowClient

    folders = [end.folder for end in interrupted.values() if end.folder]
    client = MlflowClient(f"sqlite:///{folders[0].parents[1] / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("secateur")
    runs = client.search_runs([experiment.experiment_id])

    assert {run.data.tags["run_dir"] for run in runs} == {str(folder) for folder in folders}
    assert {run.info.status for run in runs} == {"KILLED"}
