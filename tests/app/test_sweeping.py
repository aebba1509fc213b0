"""What is refused before a sweep begins, and what is told at its end; whole sweeps are in test_end_to_end.py."""

from pathlib import Path

import pytest

from secateur import sweeps
from secateur.app import sweeping
from secateur.errors import SpecError
from secateur.sweeps import Sweep, write
from tests.example_report import failed, finished
from tests.example_tracking import of_job, write_folder, write_plan


def sweep(*overrides: str) -> int:
    return sweeping.main(["-m", *overrides])


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["schedule.target=2,3"], "job 0 (schedule.target=2): schedule.target must be in (0, 1), got 2.0"),
        (["schedule.target=0.2,3"], "job 1 (schedule.target=3): schedule.target must be in (0, 1), got 3.0"),
        (["schedule.tarjet=0.2,0.3"], "unknown key 'schedule.tarjet'; see what there is with: "),
        (["+schedule.tarjet=0.2,0.3"], "job 0 (+schedule.tarjet=0.2): unknown key 'schedule.tarjet'; there are "),
        (["importance=taylor,tailor"], "no importance named 'tailor'; there are "),
        (["schedule.target=0.2"], "nothing is swept: give a key several values, "),
        ([], "nothing is swept: give a key several values, "),
        (["schedule.target=0.2,0.3", "--config-dir", "mine"], "a sweep takes no --config-dir; configs of your own: "),
        (["seed=1,1"], "a job is asked for twice: seed=1"),
        (["seed=1,2", "hydra.sweep.subdir=mine"], "a sweep takes no hydra.sweep.subdir=mine: "),
        (["seed=1,2", "hydra/sweeper=basic"], "a sweep takes no hydra/sweeper=basic: "),
        (["schedule.target=choice()"], "Error parsing override 'schedule.target=choice()' "),
    ],
)
def test_a_sweep_that_cannot_be_is_refused_before_its_first_job(overrides: list[str], line: str, folder: Path) -> None:
    with pytest.raises(SpecError) as refusal:
        sweep(*overrides)

    assert str(refusal.value).startswith(line)
    assert "\n" not in str(refusal.value)
    assert not any(folder.iterdir())


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (None, "sweep holds no sweep: [Errno 2] No such file or directory"),
        ("{", "sweep holds no sweep: "),
        ('{"format": 99}', "sweep is of a newer secateur (format 99; this one reads 1)"),
        ('{"format": 1}', "sweep holds no sweep: "),
    ],
)
def test_what_is_no_sweep_cannot_be_gone_on_with(content: str | None, line: str, folder: Path) -> None:
    (folder / "sweep").mkdir()
    if content:
        (folder / "sweep" / "sweep.json").write_text(content)

    with pytest.raises(SpecError) as refusal:
        sweep("schedule.target=0.2,0.3", "--resume=sweep")
    assert str(refusal.value).startswith(line)


def test_another_sweep_is_not_gone_on_with(folder: Path) -> None:
    write(Sweep(["schedule.target=0.4,0.5"], [["schedule.target=0.4"], ["schedule.target=0.5"]]), folder / "sweep")

    with pytest.raises(
        SpecError,
        match=r"^sweep is another sweep: go on with it by secateur run -m schedule.target=0.4,0.5 --resume=sweep$",
    ):
        sweep("schedule.target=0.2,0.3", "--resume=sweep")


def test_going_on_is_of_sweeps() -> None:
    with pytest.raises(SpecError, match=r"^--resume goes on with a sweep: add -m; "):
        sweeping.is_meant(["schedule.target=0.2", "--resume"])


@pytest.mark.parametrize("flags", [["--cfg", "job"], ["--help"]])
def test_what_only_shows_something_begins_no_sweep(flags: list[str]) -> None:
    assert not sweeping.is_meant(["-m", "schedule.target=0.2,0.3", *flags])


def test_a_job_that_failed_is_told_once_and_with_what_was_asked_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_plan(tmp_path, [0.3, 0.6, 0.9])
    for number, report in enumerate((finished(), failed())):
        write_folder(tmp_path / str(number), of_job(tmp_path, number, report))

    sweeping._tell(sweeps.read(tmp_path), tmp_path)

    said = capsys.readouterr()
    assert said.err.splitlines() == [
        "secateur: job 1 (schedule.target=0.6) failed: finetune: no space left on device",
        "secateur: job 2 (schedule.target=0.9) not started",
    ]
    assert "no space left" not in said.out
    assert "3 jobs: 1 finished, 1 failed, 1 not started" in said.out
