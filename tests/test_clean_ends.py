"""How commands end that are killed or interrupted: processes of their own, as a person starts them."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import Any

import psutil
import pytest
from filelock import FileLock

from experiments.chaos import Command, differences, disturbed, moments, report
from secateur.records import records_in
from tests.example_commands import BRIEF, FEW, by_number, in_the_group, politely

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
    return any("secateur.edge.bench" in _words(child) for child in children)


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


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


# ---- sweeps ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def swept(detect_checkpoint: Path) -> list[str]:
    """Two jobs and one that cannot be done; nothing is trained."""
    own = [f"model.weights={detect_checkpoint}", "finetune=none", "quantization=fp32"]
    return ["-m", *BRIEF, *FEW, "schedule=one_shot", *own, "schedule.target=0.1,0.2,0.99"]


def works_on(command: Command, job: int) -> psutil.Process | None:
    """The process that does this job of the sweep."""
    below = psutil.Process(command.process.pid).children(recursive=True)
    return next((process for process in below if _job(process) == job), None)


def _job(process: psutil.Process) -> int | None:
    """The number of the job that this process does, the last word of `… -m secateur.app.job <its folder>`."""
    words = _words(process)
    return int(Path(words[-1]).name) if "secateur.app.job" in words else None


def jobs(outputs: Path) -> list[Path]:
    return sorted(outputs.glob("sweeps/*/[0-9]*"))


def states(outputs: Path) -> list[str]:
    return [report(job)["run"]["status"] if (job / "report.json").exists() else "no report" for job in jobs(outputs)]


@dataclass(frozen=True)
class Attempt:
    """One of several starts of the same sweep."""

    code: int
    said: str
    survivors: list[str]
    states: list[str]
    errors: list[str | None]
    made: list[list[tuple[str, bool]]]
    """Of each job, the keys of its stages, and whether they were there already."""


def ended(command: Command) -> Attempt:
    said = command.end()
    folders = jobs(command.outputs)
    told = [report(job)["run"]["error"] if (job / "report.json").exists() else None for job in folders]
    made = [[(record["key"], record["reused"]) for record in records_in(job)] for job in folders]
    code = command.process.returncode
    return Attempt(code, said, command.survivors(), states(command.outputs), told, made)


@pytest.fixture(scope="module")
def sweep_outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sweep")


@pytest.fixture(scope="module")
def attempts(swept: list[str], sweep_outputs: Path) -> dict[str, Attempt]:
    """The first job's process is killed and the second's faults; then the sweep is gone on with, and killed itself in
    the middle of the first job; then it is let go on."""
    outputs = sweep_outputs
    first = Command(swept, outputs)
    for job, number in ((0, signal.SIGKILL), (1, signal.SIGSEGV)):
        assert first.wait_until(lambda job=job: len(recorded(outputs, job)) >= 2), first.end()
        process = works_on(first, job)
        assert process
        process.send_signal(number)
    faults = ended(first)
    second = Command([*swept, "--resume"], outputs)
    assert second.wait_until(lambda: len(recorded(outputs, 0)) >= 6), second.end()
    second.process.kill()
    killed = ended(second)
    return {"faults": faults, "killed": killed, "resumed": ended(Command([*swept, "--resume"], outputs))}


def recorded(outputs: Path, job: int) -> list[dict[str, Any]]:
    folders = [folder for folder in jobs(outputs) if folder.name == str(job)]
    return records_in(folders[0]) if folders else []


def test_a_job_that_dies_is_told_with_its_cause_and_the_others_go_on(attempts: dict[str, Attempt]) -> None:
    faults = attempts["faults"]

    assert faults.code == 2
    assert faults.states == ["failed"] * 3
    assert faults.errors[:2] == [
        "its process was ended by signal 9; was there memory enough?",
        "its process was ended by signal 11",
    ]
    assert str(faults.errors[2]).startswith("0.99 of the macs is out of reach: ")
    assert all(f"failed: {error}" in faults.said for error in faults.errors)


def test_a_sweep_that_is_killed_leaves_no_process(attempts: dict[str, Attempt]) -> None:
    assert [attempt.survivors for attempt in attempts.values()] == [[], [], []]


def test_a_killed_sweep_is_gone_on_with_and_makes_nothing_twice(attempts: dict[str, Attempt]) -> None:
    killed, resumed = attempts["killed"], attempts["resumed"]

    assert (resumed.code, resumed.states) == (2, ["finished", "finished", "failed"])
    had = {key for attempt in (attempts["faults"], killed) for job in attempt.made for key, _ in job}
    assert had
    assert not [key for job in resumed.made for key, reused in job if key in had and not reused]


@pytest.fixture
def aged(attempts: dict[str, Attempt], sweep_outputs: Path) -> Iterator[Path]:
    """The folder of a finished job of which another version of a stage made a result."""
    job = jobs(sweep_outputs)[0]
    now = (job / "records.jsonl").read_text()
    made = [record | {"version": 0} if record["stage"] == "contrast" else record for record in records_in(job)]
    (job / "records.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in made))
    yield job
    (job / "records.jsonl").write_text(now)


def test_what_another_version_made_is_told_and_done_again_and_nothing_else(
    aged: Path, swept: list[str], sweep_outputs: Path
) -> None:
    other = sweep_outputs / "sweeps" / aged.parent.name / "1" / "report.json"
    before, stamp = other.read_bytes(), other.stat().st_mtime_ns
    attempt = ended(Command([*swept, "--resume"], sweep_outputs))

    told, again, *_ = attempt.said.splitlines()
    assert told.startswith(f"secateur: going on with {aged.parent}: 3 jobs: 2 finished, 1 failed")
    assert again == "secateur: contrast is repeated, and what follows from it: VERSION 0 → 2"
    assert {record["version"] for record in records_in(aged) if record["stage"] == "contrast"} == {2}
    assert (other.read_bytes(), other.stat().st_mtime_ns) == (before, stamp)


def test_a_job_that_another_process_does_is_waited_for_and_left_out(
    aged: Path, swept: list[str], sweep_outputs: Path
) -> None:
    report_before = (aged / "report.json").stat().st_mtime_ns
    with FileLock(aged / ".lock"):
        command = Command([*swept, "--resume"], sweep_outputs)
        assert command.process.stderr
        line = f"secateur: {aged} is being worked on by another process; waiting for it\n"
        assert line in iter(command.process.stderr.readline, "")
        done = [record | {"version": 2} if record["stage"] == "contrast" else record for record in records_in(aged)]
        (aged / "records.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in done))
    command.end()

    assert (aged / "report.json").stat().st_mtime_ns == report_before


# ---- many that share a store ----------------------------------------------------------------------


def test_two_sweeps_that_start_at_once_make_each_stage_once(swept: list[str], tmp_path: Path) -> None:
    possible = [word.replace("0.1,0.2,0.99", "0.1,0.2") for word in swept]
    both = [Command(possible, tmp_path) for _ in range(2)]
    assert [command.process.wait(600) for command in both] == [0, 0]

    made = [record["key"] for job in jobs(tmp_path) for record in records_in(job) if not record["reused"]]
    assert len(jobs(tmp_path)) == 4
    assert len(made) == len(set(made))


def test_a_sweep_makes_exactly_what_its_jobs_do_not_share(detect_checkpoint: Path, tmp_path: Path) -> None:
    own = [f"model.weights={detect_checkpoint}", "finetune=none", "quantization=fp32,int8_dynamic", UNTRACKED]
    rates = "schedule.target=0.1,0.2,0.3"
    command = Command(["-m", *BRIEF, *FEW, "schedule=one_shot", *own, rates], tmp_path)
    command.end()

    made = [record["stage"] for job in jobs(tmp_path) for record in records_in(job) if not record["reused"]]
    assert Counter(made) == {
        "prepare": 1,
        "baseline": 1,
        "prune": 3,  # one a rate
        "export": 4,  # the unpruned net, and each pruned one
        "quantize": 8,  # those in FP32 and in INT8
        "verify": 8,  # each file
        "depict": 8,
        "locate": 4,  # those in INT8
        "evaluate": 4 + 8,  # each net as a checkpoint, and each file
        "contrast": 6,  # all files of a job together
        "benchmark": 6,
    }
    assert len(jobs(tmp_path)) == 6
