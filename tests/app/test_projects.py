"""A folder that `secateur init` made: what lies in it is found beside what the package has."""

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from secateur.adapters.channel_pruning.groups import groups_of
from secateur.app.commands import check
from secateur.app.composing import own, settings_of_search, shipped
from secateur.app.projects import make
from secateur.errors import SpecError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Made, entered, with a net and pictures as far as can be seen before they are opened."""
    make(tmp_path / "mine")
    monkeypatch.chdir(tmp_path / "mine")
    for split in ("train", "val"):
        (tmp_path / "data" / "images" / split).mkdir(parents=True)
        (tmp_path / "data" / "images" / split / "1.jpg").touch()
    (tmp_path / "data" / "data.yaml").write_text("{path: ., train: images/train, val: images/val, names: {0: cat}}")
    (tmp_path / "best.pt").touch()
    yield tmp_path / "mine"
    sys.modules.pop("secateur.importances.largest_weights", None)


def study(*overrides: str) -> list[str]:
    return ["+study=mine", "model.weights=../best.pt", "dataset.root=../data", *overrides]


def choice(path: str, content: str) -> None:
    Path("conf", path).parent.mkdir(parents=True, exist_ok=True)
    Path("conf", path).write_text(content)


def test_its_study_is_for_a_net_and_pictures_of_ones_own(project: Path) -> None:
    spec = check(study())

    assert (spec.name, spec.model.weights, str(spec.dataset.root)) == ("mine", "../best.pt", "../data")
    assert spec.schedule.target == 0.3


@pytest.mark.parametrize("missing", ["model.weights", "dataset.root"])
def test_a_net_and_pictures_that_are_not_named_yet_are_asked_for(missing: str, project: Path) -> None:
    with pytest.raises(SpecError, match=f"^{missing} is not set; give it on the command line: {missing}=…$"):
        check([override for override in study() if not override.startswith(missing)])


def test_its_study_goes_with_every_schedule_that_has_a_target(project: Path) -> None:
    for path in sorted((shipped("conf") / "schedule").glob("*.yaml")):
        if "target:" in path.read_text():
            assert check(study(f"schedule={path.stem}")).schedule.rungs()[-1] == 0.3


def test_the_commands_of_its_readme_are_those_of_its_study(project: Path) -> None:
    lines = [line for line in Path("README.md").read_text().splitlines() if line.startswith("    ")]
    commands = [shlex.split(line, comments=True) for line in lines]
    runs = [words[2:] for words in commands if words[:2] == ["secateur", "run"] and "model.weights=best.pt" in words]

    assert runs == [["+study=mine", "model.weights=best.pt", "dataset.root=/path/to/data"]]


def test_its_example_of_a_criterion_scores_by_the_largest_weights(project: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False), nn.Conv2d(2, 1, 1, bias=False))
    net[0].weight.data = torch.tensor([[3.0, -4.0, 0.0], [0.0, 2.0, 1.0]])[:, :, None, None]
    (group,) = groups_of(net, [net[-1]], 8)

    spec = check(study("importance=largest_weights", "importance.top=2"))

    # by hand: (4 + 3) / 2 and (2 + 1) / 2, of which the mean is 2.5
    torch.testing.assert_close(spec.importance.score(group), torch.tensor([1.4, 0.6]))


def test_its_example_checks_its_settings(project: Path) -> None:
    with pytest.raises(SpecError, match="importance.top must be 1 or more, got 0"):
        check(study("importance=largest_weights", "importance.top=0"))


def test_choices_and_searches_of_ones_own_are_found_beside_the_packages(project: Path) -> None:
    choice("finetune/short.yaml", "defaults: [default, _self_]\nepochs: 2\n")
    choice("search/two.yaml", "defaults: [default, _self_]\nmargin: 0.5\n")

    assert check(study("finetune=short")).finetune.epochs == 2
    assert settings_of_search(["search=two"])["margin"] == 0.5


@pytest.mark.parametrize("path", ["schedule/linear.yaml", "study/quickstart.yaml"])
def test_a_choice_with_the_name_of_one_of_the_packages_is_refused(path: str, project: Path) -> None:
    choice(path, "name: linear\n")

    with pytest.raises(SpecError, match=f"^conf/{path}: secateur has one of that name; give yours another$"):
        check(study())


def test_what_another_programs_conf_holds_for_itself_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    choice("config.yaml", "defaults: [nothing]\nimgsz: 7\n")

    assert check([]).imgsz == 640


def test_a_checkouts_conf_is_no_folder_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)

    assert own() is None


def test_outside_a_project_its_study_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SpecError, match="no study named 'mine'; there are "):
        check(study())


def test_a_folder_with_other_files_gets_the_projects_too(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")

    made = make(tmp_path)

    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted([*made, tmp_path / "notes.txt"])


def test_a_gitignore_keeps_its_lines_and_gains_those_that_it_lacks(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("*.log\n__pycache__/")

    make(tmp_path)

    assert (tmp_path / ".gitignore").read_text() == "*.log\n__pycache__/\noutputs/\n"


def test_nothing_is_overwritten_and_nothing_is_half_made(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")

    with pytest.raises(SpecError, match=f"^{tmp_path}/README.md is there already, and would be overwritten; name anot"):
        make(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    assert (tmp_path / "README.md").read_text() == "mine"


def test_a_file_in_the_folders_place_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()

    with pytest.raises(SpecError, match=f"^cannot make {tmp_path}/mine: .*; name another folder$"):
        make(tmp_path / "mine")
