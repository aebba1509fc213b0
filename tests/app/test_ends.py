"""How runs and sweeps end that are interrupted or killed, or whose jobs are: real processes, that only import torch."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from experiments.chaos import Command, report
from tests.example_commands import AT_ONCE_SECONDS, by_number, in_the_group, politely

pytestmark = pytest.mark.slow

SLOW_TO_IMPORT = """
import os, time
from pathlib import Path
(Path(os.environ["BEGUN"]) / str(os.getpid())).touch()
time.sleep(600)
"""
"""In torch's place, which a job imports when its run has begun."""

LACKS_ROOM = """
import resource
from secateur.errors import StageError
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
raise StageError("so that it has to be told")
"""

LINE = "secateur: interrupted; with --resume the same command goes on where it was"
SIDE_BY_SIDE = ["hydra/launcher=parallel"]
LAUNCHERS = pytest.mark.parametrize(
    ("launcher", "at_once"), [([], 1), (SIDE_BY_SIDE, 2)], ids=["one after another", "side by side"]
)


@pytest.fixture
def begun(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where each job that is at work has a file of its process' number."""
    begun, stub = folder / "begun", folder / "stub"
    begun.mkdir()
    stub.mkdir()
    (stub / "torch.py").write_text(SLOW_TO_IMPORT)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(stub), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("BEGUN", str(begun))
    return begun


def sweep(folder: Path, *arguments: str) -> Command:
    return Command(["-m", "seed=1,2,3", "tracking=none", *arguments], folder / "outputs")


def at_work(command: Command, begun: Path, jobs: int) -> list[int]:
    """The processes of so many jobs, oldest first."""
    assert command.wait_until(lambda: len(list(begun.iterdir())) >= jobs), command.end()
    return [int(path.name) for path in sorted(begun.iterdir(), key=lambda path: path.stat().st_mtime_ns)]


def is_told(job: psutil.Process) -> bool:
    """That it is to end, which a suspended process does not hear yet."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{job.pid}/status").read_text().splitlines())
    return bool(int(status["ShdPnd"], 16) >> (signal.SIGTERM - 1) & 1)


def statuses(folder: Path) -> list[str]:
    jobs = sorted(folder.glob("outputs/sweeps/*/[0-9]"))
    return [report(job)["run"]["status"] if (job / "report.json").exists() else "not started" for job in jobs]


def politely_in_the_group(command: Command) -> None:
    os.killpg(command.process.pid, signal.SIGTERM)


INTERRUPTS = pytest.mark.parametrize("interrupt", [in_the_group, by_number, politely, politely_in_the_group])


@INTERRUPTS
def test_an_interrupt_ends_a_run_with_its_record(
    interrupt: Callable[[Command], None], begun: Path, folder: Path
) -> None:
    command = Command(["tracking=none"], folder / "outputs")
    at_work(command, begun, 1)
    interrupt(command)

    assert command.end() == "secateur: interrupted; the same command goes on where it was\n"
    assert command.process.returncode == 130
    (run,) = (folder / "outputs" / "runs").iterdir()
    assert report(run)["run"]["status"] == "killed"


def test_an_interrupt_ends_a_sensitivity_that_has_nothing_yet_without_a_trace(begun: Path, folder: Path) -> None:
    command = Command([], folder / "outputs", "sensitivity")
    at_work(command, begun, 1)
    in_the_group(command)

    assert command.end() == "secateur: interrupted; the same command goes on where it was\n"
    assert command.process.returncode == 130
    assert list((folder / "outputs" / "sensitivity").iterdir()) == []


@LAUNCHERS
@pytest.mark.parametrize("interrupt", [in_the_group, by_number])
def test_an_interrupt_ends_a_sweep_with_its_jobs_records(
    interrupt: Callable[[Command], None], launcher: list[str], at_once: int, begun: Path, folder: Path
) -> None:
    command = sweep(folder, *launcher)
    at_work(command, begun, at_once)
    interrupt(command)
    said = command.end().splitlines()

    assert command.process.returncode == 130
    assert statuses(folder) == ["killed"] * at_once + ["not started"] * (3 - at_once)
    assert [line for line in said if not line.startswith("secateur: job ")] == [LINE]
    assert command.survivors() == []


@LAUNCHERS
def test_a_second_ctrl_c_ends_a_sweep_and_all_its_processes_at_once(
    launcher: list[str], at_once: int, begun: Path, folder: Path
) -> None:
    command = sweep(folder, *launcher)
    jobs = [psutil.Process(number) for number in at_work(command, begun, at_once)]
    for job in jobs:
        job.suspend()  # so that it cannot end by itself
    in_the_group(command)
    assert command.wait_until(lambda: all(is_told(job) for job in jobs))  # two signals that wait at once are one
    in_the_group(command)

    assert command.process.wait(AT_ONCE_SECONDS) == 130
    assert command.survivors() == []


@LAUNCHERS
def test_a_sweep_that_is_killed_ends_its_jobs_in_whatever_process_they_are(
    launcher: list[str], at_once: int, begun: Path, folder: Path
) -> None:
    command = sweep(folder, *launcher)
    at_work(command, begun, at_once)
    command.process.kill()
    command.process.wait()

    assert command.survivors() == []
    assert statuses(folder)[:at_once] == ["killed"] * at_once


@LAUNCHERS
def test_a_job_that_dies_is_told_with_its_cause_and_the_others_go_on(
    launcher: list[str], at_once: int, begun: Path, folder: Path
) -> None:
    command = sweep(folder, *launcher)
    for jobs, number in enumerate((signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT), start=1):
        os.kill(at_work(command, begun, jobs)[jobs - 1], number)
    said = " ".join(command.end().split())

    assert command.process.returncode == 2
    assert statuses(folder) == ["failed"] * 3
    for cause in ("9; was there memory enough?", "11", "6"):
        assert f"failed: its process was ended by signal {cause}" in said


def test_a_job_whose_report_does_not_fit_is_told_with_that_cause_when_there_is_room(begun: Path, folder: Path) -> None:
    (folder / "stub" / "torch.py").write_text(LACKS_ROOM)
    command = sweep(folder)
    said = command.end()

    assert command.process.returncode == 2
    assert said.count("secateur: cannot write: [Errno 27] File too large") == 3
    assert said.count("failed: its report could not be written; was there room on the disk?") == 3
