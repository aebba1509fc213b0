"""What signals do, to processes of their own."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from secateur.interrupts import done_by, done_side_by_side, heeded
from tests.example_commands import PATIENCE_SECONDS, until

WORKS = """
import sys, time
from pathlib import Path
from secateur.interrupts import heeded
out = Path(sys.argv[1])
with heeded() as interrupts:
    try:
        (out / "begun").touch()
        time.sleep(60)
    except KeyboardInterrupt:
        with interrupts.held_back():
            (out / "ending").touch()
            while not (out / "end").exists():
                time.sleep(0.01)
        (out / "ended").touch()
"""
"""Begins, and when it is interrupted takes as long to end as the test likes."""

HEEDS = """
import sys, time
from pathlib import Path
from secateur.interrupts import heeded
try:
    with heeded():
        time.sleep(60)
except KeyboardInterrupt:
    (Path(sys.argv[1]) / "ended").touch()
"""

STARTS = """
import subprocess, sys
from pathlib import Path
from secateur.interrupts import heeded
with heeded():
    try:
        subprocess.run(["sleep", "60"])
    except KeyboardInterrupt:
        pass
    child = subprocess.Popen(["sleep", "61"])
    (Path(sys.argv[1]) / "child").write_text(str(child.pid))
    child.wait()
"""

HANDS_ON = f"""
import sys
from secateur.interrupts import done_by
try:
    print(done_by([sys.executable, "-c", {WORKS!r}, sys.argv[1]], None))
except KeyboardInterrupt:
    print("interrupted")
"""

LIVES_ON = """
import sys, time
from pathlib import Path
from secateur.interrupts import end_with_parent, heeded
out = Path(sys.argv[1])
with heeded():
    end_with_parent()
    (out / "begun").touch()
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        (out / "ended").touch()
"""

SLOW_TO_HEED = """
import sys, time
from pathlib import Path
(Path(sys.argv[1]) / "starting").touch()
while not (Path(sys.argv[1]) / "go").exists():
    time.sleep(0.01)
"""

SLOW_TO_IMPORT = """
import os, time
from pathlib import Path
(Path(os.environ["OUT"]) / "begun").touch()
time.sleep(60)
"""
"""In typer's place."""

SIDE_BY_SIDE = f"""
import sys
from secateur.interrupts import done_side_by_side
works = [sys.executable, "-c", {WORKS!r}]
try:
    print(done_side_by_side([[*works, sys.argv[1] + "/one"], [*works, sys.argv[1] + "/two"]], threads=1))
except KeyboardInterrupt:
    print("interrupted")
"""

Start = Callable[[str], subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def start(code: str) -> subprocess.Popen[str]:
        started.append(subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_interrupt_lets_what_is_going_on_finish(number: int, start: Start, tmp_path: Path) -> None:
    process = start(WORKS)
    until((tmp_path / "begun").exists)
    process.send_signal(number)
    until((tmp_path / "ending").exists)
    (tmp_path / "end").touch()

    assert process.wait(PATIENCE_SECONDS) == 0
    assert (tmp_path / "ended").exists()


def test_a_second_ctrl_c_stops_at_once(start: Start, tmp_path: Path) -> None:
    process = start(WORKS)
    until((tmp_path / "begun").exists)
    process.send_signal(signal.SIGINT)
    until((tmp_path / "ending").exists)
    process.send_signal(signal.SIGINT)

    assert process.wait(PATIENCE_SECONDS) == 130
    assert not (tmp_path / "ended").exists()


def test_a_second_sigterm_changes_nothing(start: Start, tmp_path: Path) -> None:
    process = start(WORKS)
    until((tmp_path / "begun").exists)
    process.send_signal(signal.SIGTERM)
    until((tmp_path / "ending").exists)
    process.send_signal(signal.SIGTERM)
    (tmp_path / "end").touch()

    assert process.wait(PATIENCE_SECONDS) == 0


def test_what_is_stopped_at_once_leaves_no_process_behind(start: Start, tmp_path: Path) -> None:
    process = start(STARTS)
    until(lambda: bool(psutil.Process(process.pid).children()))
    process.send_signal(signal.SIGINT)
    until(lambda: (tmp_path / "child").exists() and bool((tmp_path / "child").read_text()))
    process.send_signal(signal.SIGINT)

    assert process.wait(PATIENCE_SECONDS) == 130
    child = int((tmp_path / "child").read_text())
    until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)


def test_an_interrupt_is_handed_on_and_waited_for(start: Start, tmp_path: Path) -> None:
    process = start(HANDS_ON)
    until((tmp_path / "begun").exists)
    process.send_signal(signal.SIGINT)
    until((tmp_path / "ending").exists)
    (tmp_path / "end").touch()

    assert process.communicate(timeout=PATIENCE_SECONDS)[0] == "interrupted\n"
    assert (tmp_path / "ended").exists()


def test_a_process_ends_with_the_one_that_started_it(start: Start, tmp_path: Path) -> None:
    process = start(HANDS_ON.replace(repr(WORKS), repr(LIVES_ON)))
    until((tmp_path / "begun").exists)
    os.kill(process.pid, signal.SIGKILL)

    until((tmp_path / "ended").exists)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("command", "line"),
    [
        (["run"], "interrupted; the same command goes on where it was"),
        (["run", "-m"], "interrupted; with --resume the same command goes on where it was"),
        (["sensitivity"], "interrupted; the same command goes on where it was"),
        (["predict"], "interrupted"),
    ],
)
def test_an_interrupt_while_a_command_is_being_imported_is_told_in_one_line(
    number: int, command: list[str], line: str, tmp_path: Path
) -> None:
    (tmp_path / "typer.py").write_text(SLOW_TO_IMPORT)
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    secateur = Path(sys.executable).with_name("secateur")
    process = subprocess.Popen(
        [secateur, *command], env=os.environ | {"PYTHONPATH": paths, "OUT": str(tmp_path)}, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    until((tmp_path / "begun").exists)
    process.send_signal(number)

    _, said = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, said) == (130, f"secateur: {line}\n")


def test_a_process_that_is_handed_an_interrupt_before_it_heeds_it_does_so_when_it_can(
    start: Start, tmp_path: Path
) -> None:
    process = start(HANDS_ON.replace(repr(WORKS), repr(SLOW_TO_HEED + HEEDS)))
    until((tmp_path / "starting").exists)
    process.send_signal(signal.SIGINT)
    until(lambda: bool(_pending(process)))
    (tmp_path / "go").touch()

    assert process.communicate(timeout=PATIENCE_SECONDS)[0] == "interrupted\n"
    assert (tmp_path / "ended").exists()


def _pending(process: subprocess.Popen[str]) -> int:
    """Signals that wait for the child to heed them."""
    (child,) = psutil.Process(process.pid).children()
    status = dict(line.split(":", 1) for line in Path(f"/proc/{child.pid}/status").read_text().splitlines())
    return int(status["ShdPnd"], 16)


def test_what_a_shell_starts_in_the_background_does_not_hear_ctrl_c(start: Start, tmp_path: Path) -> None:
    process = start("import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + WORKS)
    until((tmp_path / "begun").exists)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    until((tmp_path / "ending").exists)
    process.send_signal(signal.SIGINT)
    (tmp_path / "end").touch()

    assert process.wait(PATIENCE_SECONDS) == 0


def test_a_process_that_is_asked_to_end_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "end").touch()

    with pytest.raises(KeyboardInterrupt):
        done_by([sys.executable, "-c", WORKS, str(tmp_path)], None, asked_to_end=(tmp_path / "begun").exists)
    assert (tmp_path / "ended").exists()


def test_a_process_works_in_the_folder_that_it_is_given(tmp_path: Path) -> None:
    done_by([sys.executable, "-c", "open('here', 'w')"], None, tmp_path)

    assert (tmp_path / "here").exists()


def test_an_interrupt_that_cannot_be_told_to_the_others_is_one_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    child = subprocess.Popen(["sleep", "60"])

    def interrupted() -> None:
        with heeded() as interrupts, interrupts.handed_on((tmp_path / "no" / "x").touch):
            os.kill(os.getpid(), signal.SIGINT)
            until(lambda: interrupts.asked)
            interrupts.check()

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert caplog.messages[0].startswith("cannot tell the others to end: [Errno 2]")
    assert child.wait(PATIENCE_SECONDS) == -signal.SIGTERM


def test_an_interrupt_of_commands_side_by_side_is_handed_on_to_each(start: Start, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    process = start(SIDE_BY_SIDE)
    for name in ("one", "two"):
        until((tmp_path / name / "begun").exists)
    process.send_signal(signal.SIGINT)
    for name in ("one", "two"):
        until((tmp_path / name / "ending").exists)
        (tmp_path / name / "end").touch()

    assert process.communicate(timeout=PATIENCE_SECONDS)[0] == "interrupted\n"
    assert all((tmp_path / name / "ended").exists() for name in ("one", "two"))


def test_commands_side_by_side_are_told_how_many_threads_each_has(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code = "import os, sys; open(sys.argv[1], 'w').write(os.environ['OMP_NUM_THREADS']); sys.exit(int(sys.argv[2]))"
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    commands = [[sys.executable, "-c", code, str(tmp_path / number), number] for number in ("0", "3")]

    assert done_side_by_side(commands, threads=5) == [0, 3]
    assert [(tmp_path / number).read_text() for number in ("0", "3")] == ["5", "5"]
