"""How sweeps end that are killed, or whose jobs are: processes of their own, as a person starts them."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from filelock import FileLock

from experiments.chaos import Command, report
from secateur.records import records_in
from secateur.stages import contrast
from tests.example_commands import BRIEF, FEW, words_of

pytestmark = pytest.mark.slow


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
    words = words_of(process)
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
    assert again == f"secateur: contrast is repeated, and what follows from it: VERSION 0 → {contrast.VERSION}"
    assert {record["version"] for record in records_in(aged) if record["stage"] == "contrast"} == {contrast.VERSION}
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
        done = [
            record | {"version": contrast.VERSION} if record["stage"] == "contrast" else record
            for record in records_in(aged)
        ]
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
    own = [f"model.weights={detect_checkpoint}", "finetune=none", "quantization=fp32,int8_dynamic", "tracking=none"]
    rates = "schedule.target=0.1,0.2"
    command = Command(["-m", *BRIEF, *FEW, "schedule=one_shot", *own, rates], tmp_path)
    command.end()

    made = [record["stage"] for job in jobs(tmp_path) for record in records_in(job) if not record["reused"]]
    assert Counter(made) == {
        "prepare": 1,
        "baseline": 1,
        "prune": 2,  # one a rate
        "export": 3,  # the unpruned net, and each pruned one
        "quantize": 6,  # those in FP32 and in INT8
        "verify": 6,  # each file
        "depict": 6,
        "locate": 3,  # those in INT8
        "evaluate": 3 + 6,  # each net as a checkpoint, and each file
        "contrast": 4,  # all files of a job together
        "benchmark": 4,
    }
    assert len(jobs(tmp_path)) == 4
