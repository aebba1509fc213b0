import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from secateur.errors import StageError
from secateur.machine import SharedMachine

JOB = """
import logging, sys
from pathlib import Path
from secateur import machine

machine.PATIENCE = 0.0
logging.basicConfig(stream=sys.stdout, format="%(message)s")
way, *slots = sys.argv[2:]
here = machine.SharedMachine(Path(sys.argv[1]))
with getattr(here, way)(*([slots] if slots else [])) as device:
    print(device or "in", flush=True)
    sys.stdin.read()
"""


class Job:
    """A process that enters as soon as it can, and stays until it is told to leave."""

    def __init__(self, folder: Path, *way: str) -> None:
        command = [sys.executable, "-c", JOB, str(folder), *way]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def says(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().split(": ")[0].strip()

    def leave(self) -> None:
        self.process.communicate()


Start = Callable[..., Job]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as jobs:

        def start(*way: str) -> Job:
            job = Job(tmp_path, *way)
            jobs.callback(job.process.wait)
            jobs.callback(job.process.kill)
            return job

        yield start


def test_what_computes_goes_on_beside_others(start: Start) -> None:
    one, two = start("shared"), start("shared")

    assert (one.says(), two.says()) == ("in", "in")


@pytest.mark.parametrize(("first", "second"), [("alone", "shared"), ("shared", "alone"), ("alone", "alone")])
def test_what_takes_the_clock_has_the_machine_alone(start: Start, first: str, second: str) -> None:
    inside = start(first)
    assert inside.says() == "in"
    outside = start(second)
    assert outside.says() == "waiting"

    inside.leave()

    assert outside.says() == "in"


def test_who_waits_to_be_alone_goes_before_those_who_come_later(start: Start) -> None:
    first = start("shared")
    assert first.says() == "in"
    alone = start("alone")
    assert alone.says() == "waiting"
    later = start("shared")
    assert later.says() == "waiting"

    first.leave()
    assert alone.says() == "in"
    alone.leave()

    assert later.says() == "in"


@pytest.mark.parametrize("way", ["shared", "alone"])
def test_a_killed_job_keeps_nobody_waiting(start: Start, way: str) -> None:
    killed = start(way)
    assert killed.says() == "in"
    killed.process.kill()

    assert start("alone").says() == "in"


def test_a_job_that_is_killed_while_it_waits_keeps_nobody_out(start: Start, tmp_path: Path) -> None:
    first = start("shared")
    assert first.says() == "in"
    waiting = start("alone")
    assert waiting.says() == "waiting"
    waiting.process.kill()

    with SharedMachine(tmp_path).shared():
        assert first.process.poll() is None


def test_a_child_of_a_stage_that_outlives_it_holds_nothing(start: Start, tmp_path: Path) -> None:

    reader, writer = os.pipe()
    with SharedMachine(tmp_path).alone():
        child = os.fork()
        if child == 0:
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
    with SharedMachine(tmp_path).alone():
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
    os.close(writer)
    os.waitpid(child, 0)


def test_each_job_takes_a_device_that_is_free_and_the_next_waits_for_one(start: Start) -> None:
    one, two = start("device", "cuda:0", "cuda:1"), start("device", "cuda:0", "cuda:1")
    taken = {job.says(): job for job in (one, two)}
    assert set(taken) == {"cuda:0", "cuda:1"}
    third = start("device", "cuda:0", "cuda:1")
    assert third.says() == "waiting"

    taken["cuda:1"].leave()

    assert third.says() == "cuda:1"


def test_a_device_that_is_named_twice_is_for_two_jobs(start: Start) -> None:
    jobs = [start("device", "cpu", "cpu") for _ in range(3)]

    assert sorted(job.says() for job in jobs) == ["cpu", "cpu", "waiting"]


def test_the_device_of_a_killed_job_is_free(start: Start) -> None:
    killed = start("device", "cpu")
    assert killed.says() == "cpu"
    killed.process.kill()

    assert start("device", "cpu").says() == "cpu"


def test_a_slot_of_several_devices_waits_for_each_of_them(tmp_path: Path) -> None:
    machine = SharedMachine(tmp_path)

    with machine.device(["0"]), machine.device(["0,1", "2"]) as other:
        assert other == "2"


def test_a_folder_in_which_jobs_cannot_meet_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StageError, match=r"^jobs of this machine cannot meet in \S+: [^\n]+ TMPDIR$"):
        SharedMachine(tmp_path / "file")


def test_a_folder_of_another_user_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: os.geteuid() + 1)

    with pytest.raises(StageError, match="the folder is another user's"):
        SharedMachine(tmp_path)


def test_a_lock_that_is_damaged_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "machine.lock").write_text("no database " * 100)

    with pytest.raises(StageError, match=r"^jobs of this machine cannot meet in "), SharedMachine(tmp_path).shared():
        pass
