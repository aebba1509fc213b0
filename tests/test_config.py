import re
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from secateur import spaces
from secateur.app import searching
from secateur.app.checking import SETTINGS, VALUES
from secateur.app.commands import check
from secateur.app.composing import settings_of_search, shipped
from secateur.plugins import FOLDERS
from secateur.specs import Benchmark, Evidence, Export, Model, RunSpec, Scope, Sparsity, Training

ROOT = Path(__file__).parents[1]
CHOICES = sorted(path for path in (ROOT / "conf").glob("*/*.yaml") if path.parent.name != "search")
SEARCHES = sorted((ROOT / "conf" / "search").glob("*.yaml"))
STUDY = ROOT / "experiments" / "study"
STUDIES = sorted(STUDY.rglob("*.yaml"))
UNSET = {
    "yolo_folder": "dataset.root={data}",
    "coco_json": "dataset.train=a.json dataset.val=b.json dataset.train_images=a dataset.val_images=b",
    "other_teacher": "distillation.teacher=yolov8s-seg.pt",
    "ncnn": "quantization=fp32",
}
"""What a choice asks for."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set as far as can be seen before its pictures are opened."""
    root = tmp_path_factory.mktemp("shared") / "coco-subset"
    for split in ("train2017", "val2017"):
        (root / "images" / split).mkdir(parents=True)
        (root / "images" / split / "000000000001.jpg").touch()
    said = {"path": ".", "train": "images/train2017", "val": "images/val2017", "names": {0: "person"}}
    (root / "coco-subset.yaml").write_text(yaml.safe_dump(said))
    return root


@pytest.fixture(autouse=True)
def shared(data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the studies with real pictures ask for, made up."""
    weights = data.parent / "weights" / "yolov8n-seg-coco.pt"
    weights.parent.mkdir(exist_ok=True)
    weights.touch()
    (data.parent / "coco-unlabelled").mkdir(exist_ok=True)
    monkeypatch.setenv("SECATEUR_SHARED", str(data.parent))
    return data.parent


def head(study: Path) -> dict[str, str]:
    """The comment at the top, by its first words."""
    lines = study.read_text().split("defaults:")[0]
    return dict(re.findall(r"^# (\w+) +(\S.*)$", lines, re.MULTILINE))


def command(study: Path, data: Path) -> list[str]:
    """The overrides of the command in a study's head, with a folder that exists."""
    (said,) = re.findall(r"secateur (?:run|search) (.*?)(?: --trials \d+)?(?:  |$)", head(study)["Command"])
    return [word.replace("/path/to/data", str(data)) for word in shlex.split(said) if word != "-m"]


def values(path: str) -> dict[str, Any]:
    plain: dict[str, Any] = yaml.safe_load((ROOT / "conf" / path).read_text())
    return plain


def names(kind: type) -> set[str]:
    return {field.name for field in fields(kind)}


@pytest.mark.parametrize("path", CHOICES, ids=lambda path: f"{path.parent.name}={path.stem}")
def test_every_choice_of_every_group_composes(path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "secateur.app.commands.check_places", lambda spec: None
    )  # the library of an extra may not be here
    unset = UNSET.get(path.stem, "").format(data=data).split()

    assert isinstance(check([f"{path.parent.name}={path.stem}", *unset]), RunSpec)


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.relative_to(STUDY).with_suffix("").as_posix())
def test_every_study_composes_by_the_command_in_its_head(
    study: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secateur.app.commands.check_places", lambda spec: None)  # weights that are somebody's own
    overrides, place = command(study, data), study.relative_to(STUDY).with_suffix("").as_posix()

    assert f"+study={place}" in overrides
    assert check(overrides).name == place.replace("/", "-")


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.relative_to(STUDY).with_suffix("").as_posix())
def test_every_study_says_what_it_asks_what_it_costs_and_what_it_expects(study: Path) -> None:
    said = head(study)

    assert list(said) == ["Question", "Cost", "Expected", "Command"]
    assert [text for text in said.values() if text.isupper()] == []  # no word that holds a place


def test_the_default_is_complete() -> None:
    spec = check([])

    assert spec.imgsz == 640
    assert spec.max_map_drop is None
    assert spec.quantization.name == "int8_static"


def test_the_command_line_has_the_last_word() -> None:
    spec = check(["+study=quickstart", "schedule=geometric", "schedule.target=0.75", "finetune.epochs=2", "seed=7"])

    assert spec.schedule.rungs() == (0.5, 0.75)
    assert (spec.finetune.epochs, spec.seed) == (2, 7)


def test_training_from_scratch_and_fine_tuning_are_set_apart() -> None:
    spec = check(["+study=quickstart", "finetune.epochs=3", "model.training.epochs=5"])

    assert spec.model.training is not None
    assert (spec.finetune.epochs, spec.model.training.epochs) == (3, 5)


def test_there_is_no_sparse_training_unless_it_is_asked_for() -> None:
    assert check([]).sparsity is None


def test_sparse_training_is_set_apart_from_fine_tuning() -> None:
    spec = check(["sparsity=group_norm", "sparsity.training.epochs=7", "finetune=none"])

    assert spec.sparsity is not None
    assert (spec.sparsity.training.epochs, spec.finetune.epochs) == (7, 0)


def test_files_take_one_picture_of_one_shape_unless_others_are_asked_for() -> None:
    assert check([]).export == Export(batch=1, dynamic=False)
    assert check(["export.dynamic=true", "export.batch=8", "quantization=fp16"]).export == Export(8, dynamic=True)


def test_activations_stay_unless_others_are_asked_for() -> None:
    assert check([]).activation == "silu"
    assert check(["activation=hardswish"]).activation == "hardswish"


def test_a_swapped_net_that_is_never_trained_may_be_set_up_to_freeze() -> None:
    assert check(["activation=relu", "finetune=gentle", "finetune.epochs=0"]).activation == "relu"


def test_a_sparsitys_keys_are_its_fields() -> None:
    config = values("sparsity/group_norm.yaml")

    assert (config.keys() - {"defaults"}) | {"training"} == names(Sparsity)


@pytest.mark.parametrize("path", sorted((ROOT / "conf" / "scope").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_scopes_keys_are_its_fields(path: Path) -> None:
    assert values(f"scope/{path.name}").keys() == names(Scope)


def test_a_local_scope_is_the_default_one() -> None:
    assert check(["scope=local"]).scope == Scope()


def test_a_scope_rounds_to_what_the_runtime_likes() -> None:
    assert check(["runtime.round_to=16"]).scope.round_to == 16
    assert check(["runtime.round_to=16", "scope.round_to=4"]).scope.round_to == 4


def test_a_trainings_keys_are_its_fields() -> None:
    assert values("finetune/default.yaml").keys() == names(Training)


@pytest.mark.parametrize("path", sorted((ROOT / "conf" / "model").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_models_keys_are_its_fields(path: Path) -> None:
    assert values(f"model/{path.name}").keys() - {"defaults"} <= names(Model)


def test_the_config_holds_all_that_a_run_is_made_of_and_nothing_else() -> None:
    config = values("config.yaml")
    groups = {next(iter(entry)) for entry in config["defaults"] if isinstance(entry, dict)} - {
        "override hydra/job_logging",
        "override hydra/hydra_logging",
    }

    assert config["evidence"].keys() == names(Evidence)
    assert config["benchmark"].keys() == names(Benchmark)
    assert Export(**config["export"]) == Export()
    assert (config.keys() | groups) - {"defaults", "hydra"} == FOLDERS.keys() | VALUES.keys() | SETTINGS.keys()
    assert FOLDERS.keys() | VALUES.keys() == names(RunSpec)


def test_every_group_has_its_folder() -> None:
    folders = {path.name for path in shipped("conf").iterdir() if path.is_dir()}

    assert folders == {
        *FOLDERS,
        "model",
        "scope",
        "sparsity",
        "finetune",
        "distillation",
        "tracking",
        "hydra",
        "search",
    }


@pytest.mark.parametrize("path", SEARCHES, ids=lambda path: path.stem)
def test_every_search_composes(path: Path) -> None:
    search = searching._search([], settings_of_search([f"search={path.stem}"]))

    assert spaces.size(search.axes) > 1
    for corner in spaces.corners(search.axes):
        check(spaces.overrides(corner))


@pytest.mark.parametrize("study", ["quickstart", "recover", "schedule/three"])
def test_no_fine_tuning_wins_over_the_epochs_of_a_study(study: str) -> None:
    asked = check([f"+study={study}", "finetune=none"]).finetune

    assert asked.never
    assert {asked.of_rung(last).epochs for last in (False, True)} == {0}
