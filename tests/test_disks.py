"""Disks that are full or may not be written, as real mounts."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments.chaos import Command, report
from secateur.records import records_in
from tests.example_commands import BRIEF, FEW, mounted

pytestmark = pytest.mark.slow

DISK_MB = 400


@pytest.fixture(scope="module")
def tiny(detect_checkpoint: Path) -> list[str]:
    own = [f"model.weights={detect_checkpoint}", "finetune=none", "quantization=fp32", "schedule.target=0.15"]
    return [*BRIEF, *FEW, "schedule=one_shot", *own]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small one of its own."""
    with mounted(tmp_path, "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs") as place:
        yield place


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder that nobody may write, root neither."""
    with mounted(tmp_path, "--bind", str(tmp_path)) as place:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(place)], check=True)
        yield place


def fill(disk: Path) -> Path:
    """The file that takes the room that there was."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(2**16)):
                pass
        except OSError:
            return filler
    raise AssertionError("a disk without end")


def filled_at(command: Command, recorded: int) -> Path:
    assert command.wait_until(lambda: command.recorded >= recorded), command.end()
    return fill(command.outputs.parent)


def one_line(said: str) -> str:
    """Besides warnings that MLflow, whose database is on the disk too, was not told."""
    (line,) = (line for line in said.splitlines() if not line.startswith("WARNING: MLflow did not take "))
    assert line.startswith("secateur: ")
    return line


def test_a_run_on_a_disk_that_fills_ends_in_one_line_and_goes_on_when_there_is_room(
    tiny: list[str], disk: Path
) -> None:
    recorded = 2
    broken = Command(tiny, disk / "outputs")
    filler = filled_at(broken, recorded)
    line = one_line(broken.end())
    filler.unlink()
    again = Command(tiny, disk / "outputs")
    again.end()

    assert broken.process.returncode == 2
    assert "No space left on device" in line
    assert again.process.returncode == 0
    latest = max((disk / "outputs" / "runs").iterdir(), key=lambda run: run.name)
    assert report(latest)["run"]["status"] == "finished"
    assert [record["reused"] for record in records_in(latest)][:recorded] == [True] * recorded


def test_a_sweep_on_a_disk_that_fills_tells_its_jobs_and_goes_on_when_there_is_room(
    tiny: list[str], disk: Path
) -> None:
    arguments = ["-m", *tiny[:-1], "schedule.target=0.1,0.2"]
    broken = Command(arguments, disk / "outputs")
    filler = filled_at(broken, 2)
    broken.end()
    filler.unlink()
    again = Command([*arguments, "--resume"], disk / "outputs")
    again.end()

    assert (broken.process.returncode, again.process.returncode) == (2, 0)
    folders = sorted((disk / "outputs").glob("sweeps/*/[0-9]"))
    assert [report(folder)["run"]["status"] for folder in folders] == ["finished"] * 2


@pytest.mark.parametrize("command", [["run"], ["run", "-m", "seed=1,2"], ["sensitivity"]])
def test_outputs_that_may_not_be_written_get_one_line(command: list[str], tiny: list[str], read_only: Path) -> None:
    name, *arguments = command
    refused = Command([*arguments, *tiny], read_only / "outputs", name)

    assert one_line(refused.end()).startswith("secateur: cannot write: [Errno 30] Read-only file system: ")
    assert refused.process.returncode == 2
