"""Config files that a stranger wrote: what they say is taken as values, or refused, and never run."""

import sys
from pathlib import Path

import pytest
import yaml

from secateur import cli
from secateur.app import commands, composing
from secateur.app.harmless import overrides_in
from secateur.errors import SpecError

OPENS = {"_target_": "logging.FileHandler", "filename": "mark"}
"""Once it is built, there is a file `mark`."""

LOGS = {"handlers": {"more": {"()": "logging.FileHandler", "filename": "mark"}}, "root": {"handlers": ["more"]}}

HYDRAS = {
    "callbacks": {"callbacks": {"more": OPENS}},
    "job_logging": {"job_logging": LOGS},
    "hydra_logging": {"hydra_logging": LOGS},
    "launcher": {"launcher": {"_target_": "logging.FileHandler"}},
    "sweeper": {"sweeper": {"_target_": "logging.FileHandler"}},
    "job.env_set": {"job": {"env_set": {"SECATEUR_TRUST": "1"}}},
    "job.chdir": {"job": {"chdir": True}},
    "job.name": {"job": {"name": "a\n#SBATCH --wrap=true"}},
    "mode": {"mode": "MULTIRUN"},
}


def study(folder: Path, text: str) -> list[str]:
    """The overrides that choose it."""
    (folder / "theirs" / "study").mkdir(parents=True)
    (folder / "theirs" / "study" / "found.yaml").write_text(f"# @package _global_\n{text}")
    return [f"hydra.searchpath=[file://{folder}/theirs]", "+study=found", "tracking=none"]


def refused(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line, of the command itself."""
    monkeypatch.setattr(sys, "argv", ["secateur", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix("secateur: ")


@pytest.mark.parametrize(
    "command",
    [["run"], ["run", "--cfg", "job"], ["run", "-m", "seed=1,2"], ["search", "--trials", "1"]],
    ids=lambda words: " ".join(words),
)
@pytest.mark.parametrize("key", HYDRAS)
def test_a_study_that_sets_what_hydra_builds_is_refused_and_runs_nothing(
    key: str, command: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = study(folder, yaml.safe_dump({"hydra": HYDRAS[key]}))

    line = refused([*command, *overrides], monkeypatch, capsys)

    assert line == (
        f"a config file sets hydra.{key}, which can run code: take it out there, and say what is meant on the command "
        "line"
    )
    assert [path.name for path in folder.iterdir()] == ["theirs"]


@pytest.mark.parametrize("key", ["+hydra.job.env_set.SECATEUR_TRUST", "hydra/launcher", "++hydra.mode", "_target_"])
def test_what_a_study_sweeps_is_nothing_of_hydras_own(key: str, folder: Path) -> None:
    where, *_ = study(folder, yaml.safe_dump({"hydra": {"sweeper": {"params": {key: "1,2"}}}}))

    with pytest.raises(SpecError, match="a config file sweeps .*, which is Hydra's own"):
        commands.main(["-m", where, "+study=found", "seed=1,2"])
    with pytest.raises(SpecError, match="a config file sweeps .*, which is Hydra's own"):
        commands.main([where, "+study=found"])


def test_a_study_that_is_swept_is_looked_into_too(folder: Path) -> None:
    where, *_ = study(folder, yaml.safe_dump({"hydra": HYDRAS["job_logging"]}))

    with pytest.raises(SpecError, match="a config file sets hydra.job_logging"):
        commands.main(["-m", where, "+study=quickstart,found"])

    assert not (folder / "mark").exists()


def test_a_study_that_chooses_a_launcher_is_refused(folder: Path) -> None:
    overrides = study(folder, "defaults:\n  - override /hydra/launcher: parallel\n")

    with pytest.raises(SpecError, match="a config file sets hydra.launcher, which can run code"):
        commands.main(overrides)


@pytest.mark.parametrize("key", ["dataset", "model", "importance", "finetune"])
def test_a_target_in_a_part_is_an_unknown_key_and_is_not_built(key: str, folder: Path) -> None:
    overrides = study(folder, yaml.safe_dump({key: OPENS}))

    with pytest.raises(SpecError, match=rf"unknown key '{key}\.(_target_|filename)'; there are "):
        commands.main(overrides)

    assert not (folder / "mark").exists()


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.mkdir ['mark']", "!!python/name:os.mkdir"])
def test_a_yaml_that_names_objects_of_python_is_refused(
    tag: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused(["run", *study(folder, f"name: {tag}\n")], monkeypatch, capsys)

    assert line.startswith("a config file cannot be read: could not determine a constructor for the tag ")
    assert [path.name for path in folder.iterdir()] == ["theirs"]


@pytest.mark.parametrize("resolver", ["eval", "python", "oc.call"])
def test_an_interpolation_that_would_compute_is_refused(resolver: str, folder: Path) -> None:
    overrides = study(folder, f"name: ${{{resolver}:open('mark','w')}}\n")

    with pytest.raises(SpecError):
        commands.check(overrides)

    assert not (folder / "mark").exists()


def test_an_interpolation_may_read_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHT", "seventh")

    assert commands.check(study(folder, "name: ${oc.env:NIGHT}\n")).name == "seventh"


def test_a_launcher_of_ones_own_may_be_chosen_by_the_command_line(folder: Path) -> None:
    (folder / "own" / "hydra" / "launcher").mkdir(parents=True)
    (folder / "own" / "hydra" / "launcher" / "mine.yaml").write_text("defaults:\n  - joblib\nn_jobs: 3\n")

    plan = composing.planned([f"hydra.searchpath=[file://{folder}/own]", "hydra/launcher=mine", "seed=1,2"])

    assert plan.launcher["n_jobs"] == 3


def test_the_command_line_may_say_what_a_file_may_not() -> None:
    line = "distillation.teacher is not set"

    with pytest.raises(SpecError, match=line):
        commands.main(["distillation=other_teacher", "hydra.job_logging.root.level=DEBUG", "hydra/launcher=parallel"])


# ---- flags -------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--config-name", "other"], "a run takes no --config-name; configs of your own: 'hydra.searchpath="),
        (["--config-path", "other"], "a run takes no --config-path; configs of your own: 'hydra.searchpath="),
        (["--experimental-rerun", "config.pickle"], "a run takes no --experimental-rerun; configs of your own: "),
        (["--config-dir", "nowhere"], "--config-dir: no folder 'nowhere'"),
        (["--multirn"], "run: no option --multirn; did you mean '--multirun'?"),
    ],
)
def test_a_flag_that_cannot_be_is_refused_in_one_line(flags: list[str], line: str, folder: Path) -> None:
    with pytest.raises(SpecError) as refusal:
        commands.main(flags)

    assert str(refusal.value).startswith(line)
    assert "\n" not in str(refusal.value)
    assert not any(folder.iterdir())


def test_a_config_dir_is_looked_into_before_hydra_does(folder: Path) -> None:
    _, *overrides = study(folder, yaml.safe_dump({"hydra": HYDRAS["callbacks"]}))

    with pytest.raises(SpecError, match="a config file sets hydra.callbacks"):
        commands.main([*overrides, "--config-dir", "theirs"])

    assert not (folder / "mark").exists()


def test_overrides_are_told_from_hydras_flags() -> None:
    assert overrides_in(["+study=quickstart", "--cfg", "job", "--resolve"]) == ["+study=quickstart"]
