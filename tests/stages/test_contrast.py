from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from secateur.errors import StageError
from secateur.matches import Matches
from secateur.ports import Tools
from secateur.results import AccuracyChange, Artifact, Change, ClassChange
from secateur.runner import Runner
from secateur.stages import contrast
from secateur.store import Store, artifact

NAMES = ("even", "odd")
NOTHING = Change(0.0, 0.0, 0.0)

PICTURES = np.arange(40, dtype=np.int32)
ALL = np.ones((40, 10), bool)
SURE = Matches(
    images=40,
    image=PICTURES,
    confidence=np.linspace(0.9, 0.1, 40),
    label=PICTURES % 2,
    box=ALL,
    mask=ALL,
    object_image=PICTURES,
    object_label=PICTURES % 2,
)
"""An object a picture, of two classes in turn; all are found."""


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    tools: Any = {"detector": None, "pruner": None, "downloads": None}
    return Runner(Tools(**tools, progress=lambda done, total: None), Store(tmp_path / "store"))


def kept(matches: Matches, folder: Path, name: str) -> Artifact:
    matches.write(folder / name)
    return artifact(folder / name)


def found(runner: Runner, folder: Path, other: Matches, seed: int = 0, baseline: Matches = SURE) -> AccuracyChange:
    inputs = contrast.Inputs(kept(baseline, folder, "a"), {"other": kept(other, folder, "b")}, NAMES, 200, seed)
    return runner(contrast.run, inputs, "accuracies").changes["other"]


def without(pictures: int) -> Matches:
    """Nothing is right in the first of the pictures."""
    right = ALL.copy()
    right[:pictures] = False
    return replace(SURE, box=right, mask=right)


def test_a_model_differs_from_itself_by_nothing(runner: Runner, tmp_path: Path) -> None:
    assert found(runner, tmp_path, without(10), baseline=without(10)) == AccuracyChange(NOTHING, NOTHING)


def test_a_clear_loss_is_measurable(runner: Runner, tmp_path: Path) -> None:
    loss = found(runner, tmp_path, without(20)).box_map50_95

    assert loss.low <= loss.observed <= loss.high < 0
    assert loss.is_measurable


def test_one_picture_more_or_less_is_not(runner: Runner, tmp_path: Path) -> None:
    last = ALL.copy()
    last[-1] = False

    loss = found(runner, tmp_path, replace(SURE, box=last)).box_map50_95
    assert loss.observed < 0
    assert not loss.is_measurable  # a third of the redraws, 1/e, are without it


def test_boxes_and_masks_are_told_apart(runner: Runner, tmp_path: Path) -> None:
    changes = found(runner, tmp_path, replace(without(20), box=ALL))

    assert changes.box_map50_95 == NOTHING
    assert changes.mask_map50_95
    assert changes.main == changes.mask_map50_95 != NOTHING


def test_a_detector_has_no_change_of_masks(runner: Runner, tmp_path: Path) -> None:
    changes = found(runner, tmp_path, replace(without(20), mask=None), baseline=replace(SURE, mask=None))

    assert changes.mask_map50_95 is None
    assert changes.main == changes.box_map50_95


def test_the_interval_comes_from_the_seed(runner: Runner, tmp_path: Path) -> None:
    first, again, other = (found(runner, tmp_path, without(20), seed).main for seed in (1, 1, 2))

    assert first == again
    assert (first.low, first.high) != (other.low, other.high)
    assert first.observed == other.observed


def test_changes_come_back_from_the_store_as_they_were(runner: Runner, tmp_path: Path) -> None:
    other = kept(without(20), tmp_path, "b")
    inputs = contrast.Inputs(kept(SURE, tmp_path, "a"), {"other": other}, NAMES, 50, 0)

    made = runner(contrast.run, inputs, "accuracies")
    without_work = Runner(replace(runner.tools, progress=None), runner.store)  # type: ignore[arg-type]
    assert without_work(contrast.run, inputs, "accuracies") == made


def test_a_baseline_alone_is_compared_with_nobody(runner: Runner, tmp_path: Path) -> None:
    inputs = contrast.Inputs(kept(SURE, tmp_path, "a"), {}, NAMES, 50, 0)

    assert runner(contrast.run, inputs, "accuracies").changes == {}


def test_scores_of_other_pictures_are_refused(runner: Runner, tmp_path: Path) -> None:
    with pytest.raises(StageError, match="other was scored on other pictures than the baseline"):
        found(runner, tmp_path, replace(SURE, object_label=1 - SURE.object_label))


def by_class(runner: Runner, folder: Path, other: Matches, baseline: Matches = SURE) -> dict[str, ClassChange]:
    inputs = contrast.Inputs(kept(baseline, folder, "a"), {"other": kept(other, folder, "b")}, NAMES, 200, 0)
    return {found.name: found for found in runner(contrast.run, inputs, "accuracies").classes["other"]}


def test_the_class_that_paid_is_told_and_the_other_differs_by_nothing(runner: Runner, tmp_path: Path) -> None:
    right = ALL.copy()
    right[PICTURES % 2 == 1] = False

    found = by_class(runner, tmp_path, replace(SURE, mask=right))

    assert found["even"] == ClassChange("even", 20, 20, pytest.approx(0.995), pytest.approx(0.995), NOTHING)
    assert (found["odd"].before, found["odd"].after) == pytest.approx((0.995, 0))  # by hand: nothing of it is right
    assert found["odd"].is_measurable


def test_a_class_without_objects_is_left_out(runner: Runner, tmp_path: Path) -> None:
    alone = replace(SURE, object_label=np.zeros(40, np.int32))

    assert by_class(runner, tmp_path, alone, alone).keys() == {"even"}


def test_a_class_of_one_picture_has_an_interval_of_the_redraws_that_hold_it(runner: Runner, tmp_path: Path) -> None:
    labels = np.zeros(40, np.int32)
    labels[7] = 1
    rare, right = replace(SURE, label=labels, object_label=labels), ALL.copy()
    right[7] = False

    lost = by_class(runner, tmp_path, replace(rare, mask=right), rare)["odd"]

    assert (lost.change.observed, lost.change.low, lost.change.high) == pytest.approx((-0.995, -0.995, -0.995))
    assert (lost.objects, lost.pictures) == (1, 1)
    assert not lost.is_measurable  # one picture tells nothing of others


def test_the_classes_of_a_detector_are_of_its_boxes(runner: Runner, tmp_path: Path) -> None:
    boxes = by_class(runner, tmp_path, replace(without(20), mask=None), replace(SURE, mask=None))

    assert boxes["even"].change.observed < 0


def test_the_whole_changes_by_the_mean_of_its_classes(runner: Runner, tmp_path: Path) -> None:
    classes = by_class(runner, tmp_path, without(20))

    mean = sum(one.change.observed for one in classes.values()) / 2
    assert found(runner, tmp_path, without(20)).main.observed == pytest.approx(mean)
