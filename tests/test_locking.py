"""Who waits for whom, what is said meanwhile, and which runs are alive."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from secateur import locking
from secateur.locking import Holder, LiveRun, clear_dead_runs, held, held_if_free, relied_on, signed

HOLDS = """
import sys
from pathlib import Path
from secateur.locking import held, signed
lock = Path(sys.argv[1])
with held(lock), signed(lock, "finetune 3f2a91"):
    print("holds", flush=True)
    sys.stdin.read()
"""
WAITS = """
import sys
from pathlib import Path
from secateur import locking
locking.TELL_AFTER_SECONDS = 0.1
with locking.held(Path(sys.argv[1])):
    print("holds")
"""
NO_FLOCK = """
import errno, fcntl
def missing(*_):
    raise OSError(errno.ENOSYS, "Function not implemented")
fcntl.flock = missing
"""
LIVES = """
import sys
from pathlib import Path
from secateur.locking import LiveRun
run = LiveRun(Path(sys.argv[1]))
run.relies_on("abc")
print("lives", flush=True)
sys.stdin.read()
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdin=pipe, stdout=pipe, stderr=pipe, text=True
    )


def line(process: subprocess.Popen[str]) -> str:
    """The next one it says; waits for it."""
    assert process.stdout
    return process.stdout.readline().strip()


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def note(lock: Path, host: str, pid: int = 77) -> None:
    holder = Holder(host, pid, "2026-03-01T12:00:00+01:00", "finetune 3f2a91")
    lock.with_suffix(".json").write_bytes(msgspec.json.encode(holder))


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "key.lock"


# ---- waiting --------------------------------------------------------------------------------------


def test_who_waits_is_told_for_whom_and_then_gets_the_lock(lock: Path) -> None:
    holder = start(HOLDS, lock)
    assert line(holder) == "holds"

    waiter = start(WAITS, lock)
    assert waiter.stderr
    told = waiter.stderr.readline()
    holder.communicate("")
    said, more = waiter.communicate(timeout=60)
    who = f"process {holder.pid} on {socket.gethostname()}"
    assert told.startswith(f"store: waiting for finetune 3f2a91, which {who} has been making since 20")
    assert (said.strip(), more) == ("holds", "")


def test_a_short_wait_is_not_worth_a_word(lock: Path, caplog: pytest.LogCaptureFixture) -> None:
    with held(lock):
        pass

    with held(lock):
        assert caplog.records == []


def test_who_waits_for_another_host_is_told_what_to_do_when_that_is_gone(lock: Path) -> None:
    note(lock, "elsewhere")
    with held_if_free(lock):
        waiter = start(WAITS, lock)
        assert waiter.stderr
        told = waiter.stderr.readline()

    waiter.communicate(timeout=60)
    assert told == (
        "store: waiting for finetune 3f2a91, which process 77 on elsewhere has been making since "
        f"2026-03-01T12:00:00+01:00; if that host is gone for good, delete {lock}\n"
    )


def test_what_that_line_says_helps(lock: Path) -> None:
    with held_if_free(lock):  # as good as a host that is gone
        waiter = start(WAITS, lock)
        assert waiter.stderr
        waiter.stderr.readline()
        lock.unlink()

        assert waiter.communicate(timeout=60)[0].strip() == "holds"


def test_on_a_file_system_without_flock_too(lock: Path) -> None:
    lock.write_text("77\nelsewhere\n")  # as filelock there writes it
    note(lock, "elsewhere")
    waiter = start(NO_FLOCK + WAITS, lock)
    assert waiter.stderr
    told = next(said for said in waiter.stderr if said.startswith("store: "))

    assert told.endswith(f"; if that host is gone for good, delete {lock}\n")
    lock.unlink()
    assert waiter.communicate(timeout=60)[0].strip() == "holds"
    assert not lock.exists()


def test_a_lock_whose_holder_was_killed_is_free(lock: Path) -> None:
    holder = start(HOLDS, lock)
    assert line(holder) == "holds"
    kill(holder)

    with held_if_free(lock) as free:
        assert free


def test_what_a_killed_holder_had_written_beside_is_gone_with_the_next(
    lock: Path, caplog: pytest.LogCaptureFixture
) -> None:
    note(lock, socket.gethostname())

    with held(lock):
        assert not lock.with_suffix(".json").exists()
    assert caplog.records == []


def test_a_lock_that_another_host_let_go_without_a_word_is_taken_over_with_a_warning(
    lock: Path, caplog: pytest.LogCaptureFixture
) -> None:
    note(lock, "elsewhere")

    with held(lock):
        pass
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith(
        "store: taking over finetune 3f2a91 from process 77 on elsewhere, which had it since 2026-03-01T12:00:00"
    )


def test_half_a_note_is_none(lock: Path, caplog: pytest.LogCaptureFixture) -> None:
    lock.with_suffix(".json").write_text('{"host": "elsewh')

    with held(lock), signed(lock, "prune 1"):
        written = msgspec.json.decode(lock.with_suffix(".json").read_bytes(), type=Holder)
    assert (written.pid, written.what) == (os.getpid(), "prune 1")
    assert caplog.records == []


def test_a_lock_can_be_removed_while_somebody_waits_for_it(lock: Path) -> None:
    with held_if_free(lock):
        waiter = start(WAITS, lock)
        assert waiter.stderr
        waiter.stderr.readline()
        locking.remove(lock)

    assert waiter.communicate(timeout=60)[0].strip() == "holds"
    assert lock.exists()


# ---- who is alive ---------------------------------------------------------------------------------


def test_what_a_live_run_relies_on_is_known_to_others(tmp_path: Path) -> None:
    run = start(LIVES, tmp_path)
    assert line(run) == "lives"

    clear_dead_runs(tmp_path)
    assert relied_on(tmp_path) == {"abc"}
    run.communicate("")


def test_a_run_that_ended_leaves_nothing(tmp_path: Path) -> None:
    run = start(LIVES, tmp_path)
    run.communicate("")

    assert list(tmp_path.iterdir()) == []


def test_a_run_that_was_killed_relies_on_nothing(tmp_path: Path) -> None:
    run = start(LIVES, tmp_path)
    assert line(run) == "lives"
    kill(run)

    clear_dead_runs(tmp_path)
    assert relied_on(tmp_path) == set()
    assert list(tmp_path.iterdir()) == []


def test_of_two_runs_in_one_process_one_may_end(tmp_path: Path) -> None:
    first, second = LiveRun(tmp_path), LiveRun(tmp_path)
    first.relies_on("one")
    second.relies_on("two")
    del first

    clear_dead_runs(tmp_path)
    assert relied_on(tmp_path) == {"two"}
