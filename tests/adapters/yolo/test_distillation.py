from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from secateur.adapters.yolo.distillation import DenseCriterion
from secateur.adapters.yolo.door import Yolo
from secateur.datasets.shapes import Shapes
from secateur.ports import Lesson
from secateur.specs import Distillation
from tests.conftest import IMGSZ, Recipe, pictures, prune, unwatched, watching

if TYPE_CHECKING:
    from torch import Tensor

DENSE = Distillation(labels=0.0, classes=1.0, boxes=1.0, coefficients=1.0, prototypes=1.0)


def no_labels(predictions: Any, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
    raise AssertionError("labels were asked for")


def raw(net: nn.Module, seen: Tensor) -> Any:
    """What a head gives while it is trained, BatchNorm left alone."""
    net.eval()
    net.model[-1].training = True
    return net(seen)


def losses(yolo: Yolo, teacher: Path, student: nn.Module, weights: Distillation = DENSE) -> dict[str, float]:
    criterion = DenseCriterion(yolo.load(teacher), weights, no_labels)
    _, named = criterion(raw(student, pictures(2)), {"img": pictures(2)})
    return {name: float(loss) for name, loss in named.items()}


@pytest.mark.parametrize("kind", ["seg_checkpoint", "detect_checkpoint"])
def test_a_net_that_gives_what_its_teacher_gives_has_nothing_to_learn(
    kind: str, yolo: Yolo, request: pytest.FixtureRequest
) -> None:
    checkpoint = request.getfixturevalue(kind)

    found = losses(yolo, checkpoint, yolo.load(checkpoint))

    masks = ["coefficients_loss", "prototypes_loss"] if kind == "seg_checkpoint" else []
    assert list(found) == ["classes_loss", "boxes_loss", *masks]
    assert max(found.values()) < 1e-4


def test_each_part_of_a_head_is_missed_by_its_own_term(yolo: Yolo, seg_checkpoint: Path) -> None:
    for branch, name in [("cv2", "boxes_loss"), ("cv3", "classes_loss"), ("cv4", "coefficients_loss")]:
        student = yolo.load(seg_checkpoint)
        with torch.no_grad():
            for level in getattr(student.model[-1], branch):
                level[-1].bias += torch.linspace(-1, 1, len(level[-1].bias))

        found = losses(yolo, seg_checkpoint, student)

        assert found[name] > 1e-4  # few objects: a net with random weights is sure of nothing
        assert all(loss < found[name] / 5 for other, loss in found.items() if other != name)


def test_a_weight_of_0_leaves_a_term_out(yolo: Yolo, seg_checkpoint: Path) -> None:
    found = losses(yolo, seg_checkpoint, yolo.load(seg_checkpoint), Distillation(labels=0.0, boxes=2.0))

    assert list(found) == ["boxes_loss"]


def away(net: nn.Module, teacher: nn.Module, seen: Tensor) -> float:
    """Squared distance of the class logits."""
    with torch.no_grad():
        return float((raw(net, seen)["scores"] - raw(teacher, seen)["scores"]).square().mean())


@pytest.fixture
def unlabelled(tmp_path: Path, yolo: Yolo) -> Path:
    """A folder of pictures that no label tells anything about."""
    Shapes(train=24, val=1, size=IMGSZ, seed=5).write(tmp_path, yolo)
    return tmp_path / "images" / "train"


def test_a_pruned_net_learns_from_pictures_without_labels(
    yolo: Yolo, trained_checkpoint: Path, easy_shapes: Path, unlabelled: Path, recipe: Recipe, tmp_path: Path
) -> None:
    before = prune(yolo, yolo.load(trained_checkpoint), target=0.2)
    yolo.save(before, tmp_path / "pruned.pt")
    lesson = Lesson(easy_shapes, DENSE, unlabelled, trained_checkpoint)
    batches: list[tuple[int, int]] = []
    training = recipe(epochs=4, lr0=0.001, freeze_batchnorm=True, fliplr=0.0)

    yolo.finetune(tmp_path / "pruned.pt", lesson, training, IMGSZ, 0, tmp_path / "out.pt", watching(batches))

    teacher, after = yolo.load(trained_checkpoint), yolo.load(tmp_path / "out.pt")
    assert batches[-1] == (28, 28)  # 32 + 24 pictures in batches of 8, four times
    assert away(after, teacher, pictures(4)) < 0.8 * away(copy.deepcopy(before), teacher, pictures(4))


def test_ultralytics_own_distillation_keeps_the_pruned_net(
    yolo: Yolo, pruned_checkpoint: Path, seg_checkpoint: Path, shapes: Path, recipe: Recipe, tmp_path: Path
) -> None:
    lesson = Lesson(shapes, Distillation(features=6.0), teacher=seg_checkpoint)

    yolo.finetune(pruned_checkpoint, lesson, recipe(), IMGSZ, 0, tmp_path / "out.pt", unwatched)

    before, after = (yolo.load(path).state_dict() for path in (pruned_checkpoint, tmp_path / "out.pt"))
    assert {name: value.shape for name, value in before.items()} == {k: v.shape for k, v in after.items()}
    assert any(not torch.equal(before[name], after[name]) for name in before)
