"""With Optuna itself, and workers that are processes of their own."""

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from secateur.adapters import search
from secateur.adapters.search import DATABASE, Trial, Trials
from secateur.errors import SpecError, StageError
from secateur.spaces import Choices, Grid, Space

SPACE: Space = {
    "schedule.target": Grid(0.1, 0.6, 0.05),
    "importance": Choices(["taylor", "lamp"]),
    "imgsz": Grid(64, 128, 32),
}
SMALL: Space = {"scope": Choices(["local", "global"]), "imgsz": Choices([64, 96])}
WORKER = """
import os, signal, sys
from pathlib import Path
from secateur.adapters.search import Trials
from tests.adapters.test_search import SPACE, done

trials = Trials(Path(sys.argv[1]), SPACE, seed=0)
if sys.argv[2] == "dies":
    trials.next(9)
    os.kill(os.getpid(), signal.SIGKILL)
for trial in done(trials, int(sys.argv[2])):
    print(trial.number)
"""


def done(trials: Trials, wanted: int) -> list[Trial]:
    """What was done, with figures that are made up; every fourth trial is stopped."""
    found = []
    while trial := trials.next(wanted):
        found.append(trial)
        if trial.number % 4 == 3:
            trials.tell_stopped(trial)
        else:
            trials.tell_finished(trial, accuracy=1 / (1 + trial.number), latency_ms=10 + trial.number % 3)
    return found


def start_worker(folder: Path, *what: str) -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(folder), *what], cwd=root, stdout=subprocess.PIPE, text=True
    )


def test_every_trial_is_tried_once_and_lies_in_the_space(tmp_path: Path) -> None:
    found = done(Trials(tmp_path, SPACE, seed=0), 20)

    assert len({trial.number for trial in found}) == 20
    assert len({tuple(trial.place.values()) for trial in found}) == len(found) == 20
    assert all(trial.place[key] in axis.values for trial in found for key, axis in SPACE.items())


def test_a_search_that_is_gone_on_with_tries_what_it_would_have_tried(tmp_path: Path) -> None:
    for name in ("whole", "broken off"):
        (tmp_path / name).mkdir()
    whole = done(Trials(tmp_path / "whole", SPACE, seed=0), 14)
    first = done(Trials(tmp_path / "broken off", SPACE, seed=0), 6)
    then = done(Trials(tmp_path / "broken off", SPACE, seed=0), 14)

    assert first + then == whole


def test_another_seed_tries_others(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()

    assert done(Trials(tmp_path / "a", SPACE, seed=0), 3) != done(Trials(tmp_path / "b", SPACE, seed=1), 3)


def test_a_space_that_is_tried_whole_ends_the_search(tmp_path: Path) -> None:
    trials = Trials(tmp_path, SMALL, seed=0)

    assert len(done(trials, 100)) == 4
    assert sum(trials.tally().values()) == 4


def test_failed_trials_count_and_are_not_tried_again(tmp_path: Path) -> None:
    trials = Trials(tmp_path, SMALL, seed=0)
    first = trials.next(2)
    assert first
    trials.tell_failed(first)
    second = trials.next(2)
    assert second

    assert second.place != first.place
    assert trials.tally() == {"failed": 1, "not finished": 1}


def test_a_trial_that_another_worker_has_is_left_to_it(tmp_path: Path) -> None:
    one, other = Trials(tmp_path, SPACE, seed=0), Trials(tmp_path, SPACE, seed=0)
    first, second = one.next(2), other.next(2)

    assert first
    assert second
    assert first.number != second.number
    assert Trials(tmp_path, SPACE, seed=0).next(2) is None


def test_a_trial_that_was_told_of_since_it_was_seen_is_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = Trials(tmp_path, SPACE, seed=0), Trials(tmp_path, SPACE, seed=0)
    first = one.next(2)
    assert first
    looks, look = iter([other._running()]), other._running
    monkeypatch.setattr(other, "_running", lambda: next(looks, None) or look())
    one.tell_finished(first, accuracy=0.5, latency_ms=10.0)

    second = other.next(2)
    assert second
    assert second.number != first.number


def test_a_trial_whose_worker_was_killed_is_taken_over(tmp_path: Path) -> None:
    assert start_worker(tmp_path, "dies").wait(timeout=120) == -signal.SIGKILL
    trials = Trials(tmp_path, SPACE, seed=0)
    first = trials.next(2)

    assert first
    assert trials.tally() == {"not finished": 1}
    assert first.place.keys() == SPACE.keys()
    trials.tell_stopped(first)
    assert len(done(trials, 2)) == 1
    assert trials.tally() == {"stopped early": 1, "finished": 1}


def test_a_trial_that_was_killed_before_it_was_whole_does_not_count(tmp_path: Path) -> None:
    trials = Trials(tmp_path, SPACE, seed=0)
    trials._study.ask()  # no values yet, and nobody who holds it

    assert 0 not in [trial.number for trial in done(trials, 2)]
    assert trials.tally() == {"finished": 2}


def test_two_workers_share_a_search_and_lose_nothing(tmp_path: Path) -> None:
    workers = [start_worker(tmp_path, "12") for _ in range(2)]
    said = [worker.communicate(timeout=120)[0].split() for worker in workers]

    assert len(said[0] + said[1]) == len({*said[0], *said[1]}) == 12
    assert sum(Trials(tmp_path, SPACE, seed=0).tally().values()) == 12


@pytest.mark.parametrize("spoil", ["damaged", "newer"])
def test_a_database_that_cannot_be_read_is_told_in_one_line(spoil: str, tmp_path: Path) -> None:
    file = tmp_path / DATABASE
    if spoil == "damaged":
        file.write_text("no database, however long it is read")
    else:
        Trials(tmp_path, SPACE, seed=0)
        with sqlite3.connect(file) as database:
            database.execute("UPDATE alembic_version SET version_num = 'v99.0.0.a'")

    with pytest.raises(StageError) as refusal:
        Trials(tmp_path, SPACE, seed=0)
    assert str(refusal.value).startswith(f"{file} cannot be used: ")
    assert "\n" not in str(refusal.value)


def test_a_missing_optuna_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)  # as Python notes that there is none

    with pytest.raises(SpecError, match=r"^a search needs Optuna: pip install 'secateur\[search\]'$"):
        search.check()
