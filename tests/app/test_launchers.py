"""What hydra/launcher= may be; sweeps that use it are in tests/test_launchers.py."""

import os
import signal
import tempfile
from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore

from secateur.app import commands, composing, sweeping
from secateur.app.running import Order, on_a_free_device
from secateur.errors import SpecError, StageError
from tests.example_commands import until

LAUNCHERS = composing.shipped("conf") / "hydra" / "launcher"
SWEPT = ["schedule.target=0.2,0.3"]


@pytest.mark.parametrize("preset", sorted(path.stem for path in LAUNCHERS.glob("*.yaml")))
def test_every_preset_composes_and_takes_the_place_of_none_of_hydras_own(preset: str) -> None:
    plan = composing.planned([*SWEPT, f"hydra/launcher={preset}"])

    assert plan.launcher["_target_"].startswith("hydra_plugins.")
    assert f"{preset}.yaml" not in ConfigStore.instance().list("hydra/launcher")


@pytest.mark.parametrize(
    ("plugin", "preset", "extra"),
    [
        ("joblib", "parallel", "lab"),
        ("ray", "ray_cluster", "ray"),
        ("submitit_slurm", "slurm", "slurm"),
        ("submitit_local", "slurm_rehearsal", "slurm"),
    ],
)
def test_a_launcher_that_is_not_installed_is_told_with_what_installs_it(
    plugin: str, preset: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    composing.register()
    monkeypatch.delitem(ConfigStore.instance().repo["hydra"]["launcher"], f"{plugin}.yaml")

    with pytest.raises(SpecError) as refusal:
        sweeping.main(["-m", *SWEPT, f"hydra/launcher={preset}"])
    assert str(refusal.value) == f"hydra/launcher={plugin} is not installed: pip install 'secateur[{extra}]'"


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            ["slots=[0,1]"],
            "slots=[0, 1] are for jobs that run at once: add hydra/launcher=parallel, or give device=…",
        ),
        (
            ["slots=[0,1]", "hydra/launcher=parallel", "device=cuda"],
            "device=cuda and slots=[0, 1]: each job has one of the slots; leave device out",
        ),
        (
            ["slots=[0,1]", "hydra/launcher=parallel", "hydra.launcher.n_jobs=3"],
            "hydra.launcher.n_jobs=3 and slots=[0, 1]: there is a device for 2 jobs; leave it out",
        ),
        (
            ["slots=[0,1]", "hydra/launcher=parallel", "hydra.launcher.n_jobs=-1"],
            "hydra.launcher.n_jobs=-1 and slots=[0, 1]: there is a device for 2 jobs; leave it out",
        ),
        (
            ["slots=[]", "hydra/launcher=parallel"],
            "job 0 (schedule.target=0.2): slots must name a device or more, got []; ",
        ),
        (
            ["slots=[0,gpu]", "hydra/launcher=parallel"],
            "job 0 (schedule.target=0.2): device='gpu': a device is cpu, cuda or the number of a GPU, ",
        ),
    ],
)
def test_slots_that_contradict_other_settings_are_refused_before_the_first_job(
    overrides: list[str], line: str, folder: Path
) -> None:
    with pytest.raises(SpecError) as refusal:
        sweeping.main(["-m", *SWEPT, *overrides])

    assert str(refusal.value).startswith(line)
    assert not any(folder.iterdir())


def test_one_run_has_a_device_and_no_slots() -> None:
    with pytest.raises(
        SpecError, match=r"^slots=\[0, 1\] are for the jobs of a sweep \(-m\); one run takes device=cuda:0$"
    ):
        commands.check(["slots=[0,1]"])


@pytest.mark.parametrize(("overrides", "jobs"), [([], 3), (["hydra.launcher.n_jobs=2"], 2)])
def test_as_many_jobs_run_at_once_as_there_are_slots_unless_fewer_are_asked_for(
    overrides: list[str], jobs: int
) -> None:
    asked = [*SWEPT, "slots=[0,1,2]", "hydra/launcher=parallel", *overrides]
    told = sweeping._as_many_as_slots(composing.planned(asked), asked)

    assert composing.planned([*asked, *told]).launcher["n_jobs"] == jobs


def test_a_job_has_one_of_the_slots_as_its_device(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    order = Order(composing.composed(["slots=[0,cpu]"]), ())

    with on_a_free_device(order) as one, on_a_free_device(order) as other:
        assert [one.plain["device"], other.plain["device"]] == ["cuda:0", "cpu"]


def test_an_interrupt_tells_the_jobs_and_is_raised_when_they_have_ended(folder: Path) -> None:
    def interrupted() -> None:
        with sweeping._ended_together(folder):
            os.kill(os.getpid(), signal.SIGINT)
            until((folder / "stop").exists)  # another thread takes the signal
            (folder / "ended").touch()

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert {path.name for path in folder.iterdir()} == {"stop", "ended"}


def test_a_sweep_that_goes_on_forgets_that_it_was_stopped(folder: Path) -> None:
    (folder / "stop").touch()

    with sweeping._ended_together(folder):
        assert not (folder / "stop").exists()


def test_a_batch_system_that_is_not_there_is_told_in_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder))

    with pytest.raises(StageError, match=r'^the launcher gave up \(Could not detect "srun", are you indeed on a slurm'):
        sweeping.main(["-m", *SWEPT, "hydra/launcher=slurm"])
