from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from secateur.adapters.yolo.distillation import DenseCriterion, channels_read
from secateur.adapters.yolo.door import Yolo
from secateur.datasets.shapes import Shapes
from secateur.errors import StageError
from secateur.ports import Lesson
from secateur.specs import Distillation
from tests.conftest import IMGSZ, Recipe, pictures, prune, random_checkpoint, unwatched, watching

if TYPE_CHECKING:
    from torch import Tensor

DENSE = Distillation(
    labels=0.0, classes=1.0, boxes=1.0, coefficients=1.0, prototypes=1.0, masks=1.0, neck=1.0
)  # every dense term


def no_labels(predictions: Any, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
    raise AssertionError("labels were asked for")


def raw(net: nn.Module, seen: Tensor) -> Any:
    """What a head gives while it is trained, BatchNorm left alone."""
    net.eval()
    net.model[-1].training = True
    return net(seen)


def losses(yolo: Yolo, teacher: Path, student: nn.Module, weights: Distillation = DENSE) -> dict[str, float]:
    taught = yolo.load(teacher)
    criterion = DenseCriterion(taught, weights, no_labels, channels_read(student, taught, {}))
    _, named = criterion(raw(student, pictures(2)), {"img": pictures(2)})
    return {name: float(loss) for name, loss in named.items()}


@pytest.fixture(scope="module")
def two_branches(tmp_path_factory: pytest.TempPathFactory, yolo: Yolo, shapes: Path) -> Path:
    """A YOLO26, whose head trains two branches and ships one."""
    return random_checkpoint("yolo26n-seg.yaml", tmp_path_factory.mktemp("yolo26") / "net.pt", yolo, shapes)


@pytest.mark.parametrize("kind", ["seg_checkpoint", "detect_checkpoint", "two_branches"])
def test_a_net_that_gives_what_its_teacher_gives_has_nothing_to_learn(
    kind: str, yolo: Yolo, request: pytest.FixtureRequest
) -> None:
    checkpoint = request.getfixturevalue(kind)

    found = losses(yolo, checkpoint, yolo.load(checkpoint))

    masks = [] if kind == "detect_checkpoint" else ["coefficients_loss", "prototypes_loss", "masks_loss"]
    assert list(found) == ["classes_loss", "boxes_loss", "neck_loss", *masks]
    assert max(found.values()) < 1e-4


def test_both_branches_of_a_head_are_missed(yolo: Yolo, two_branches: Path) -> None:
    for branch in ("cv3", "one2one_cv3"):
        student = yolo.load(two_branches)
        with torch.no_grad():
            for level in getattr(student.model[-1], branch):
                level[-1].bias += 1.0

        assert losses(yolo, two_branches, student)["classes_loss"] > 1e-3


def test_each_part_of_a_head_is_missed_by_its_own_term(yolo: Yolo, seg_checkpoint: Path) -> None:
    for branch, name in [("cv2", "boxes_loss"), ("cv3", "classes_loss"), ("cv4", "coefficients_loss")]:
        student = yolo.load(seg_checkpoint)
        with torch.no_grad():
            for level in getattr(student.model[-1], branch):
                level[-1].bias += torch.linspace(-1, 1, len(level[-1].bias))

        found = losses(yolo, seg_checkpoint, student)

        assert found[name] > 1e-4  # few objects: a net with random weights is sure of nothing
        of_both = {name, "masks_loss"} if name == "coefficients_loss" else {name}
        assert all(loss < found[name] / 5 for other, loss in found.items() if other not in of_both)


def test_masks_count_inside_the_boxes_of_the_surest_anchors_only(yolo: Yolo, seg_checkpoint: Path) -> None:
    net = yolo.load(seg_checkpoint)
    aim = raw(net, pictures(1))
    aim["scores"] = torch.full_like(aim["scores"], -20.0)
    aim["scores"][0, 0, 0] = 20.0  # one object, at the first anchor of the finest map: its centre is (4, 4)
    aim["boxes"] = torch.full_like(aim["boxes"], -20.0)
    aim["boxes"].view(1, 4, 16, -1)[:, :, 1] = 20.0  # each side is one stride of 8 away: from (-4, -4) to (12, 12)
    own = {**aim, "proto": aim["proto"].clone()}
    own["proto"][:, :, 3:, :] += 5.0  # a mask's pixel is 4 wide: those from 12 on lie outside
    own["proto"][:, :, :, 3:] += 5.0
    criterion = DenseCriterion(net, Distillation(labels=0.0, masks=1.0), no_labels, channels_read(net, net, {}))

    outside = float(criterion._losses(own, aim)["masks"])
    own["proto"][:, :, 0, 0] += 5.0
    inside = float(criterion._losses(own, aim)["masks"])

    assert outside == pytest.approx(0.0, abs=1e-6)
    one, wanted = (torch.einsum("p,p", p["mask_coefficient"][0, :, 0], p["proto"][0, :, 0, 0]) for p in (own, aim))
    excess = binary_entropy(one, wanted) - binary_entropy(wanted, wanted)
    assert inside == pytest.approx(float(excess) / 9, rel=1e-3)  # nine pixels lie in the box


def binary_entropy(logit: Tensor, of: Tensor) -> Tensor:
    """Cross-entropy, by its definition."""
    p, q = of.sigmoid(), logit.sigmoid()
    return -(p * q.log() + (1 - p) * (1 - q).log())


def test_the_neck_is_compared_on_the_channels_that_are_left(yolo: Yolo, seg_checkpoint: Path) -> None:
    taught = yolo.load(seg_checkpoint)
    aim = raw(taught, pictures(1))
    last = taught.model[-1].f[0]
    kept = {f"model.{last}.conv": [1, 5, 6]}
    own = {**aim, "feats": [aim["feats"][0][:, [1, 5, 6]], *aim["feats"][1:]]}
    narrow = yolo.load(seg_checkpoint)
    narrow.model[-1].cv2[0][0].conv.in_channels = 3
    channels = channels_read(narrow, taught, kept)
    criterion = DenseCriterion(taught, Distillation(labels=0.0, neck=1.0), no_labels, channels)

    same = float(criterion._losses(own, aim)["neck"])
    own["feats"] = [own["feats"][0] + own["feats"][0].std(), *own["feats"][1:]]
    away = float(criterion._losses(own, aim)["neck"])

    assert same == pytest.approx(0.0, abs=1e-9)
    assert away == pytest.approx(1 / 3, rel=1e-2)  # a standard deviation off on one map of three


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
    lesson = Lesson(easy_shapes, replace(DENSE, neck=0.0), unlabelled, trained_checkpoint)
    batches: list[tuple[int, int]] = []
    training = recipe(epochs=4, lr0=0.001, freeze_batchnorm=True, fliplr=0.0)

    yolo.finetune(tmp_path / "pruned.pt", lesson, training, IMGSZ, 0, tmp_path / "out.pt", watching(batches))

    teacher, after = yolo.load(trained_checkpoint), yolo.load(tmp_path / "out.pt")
    assert batches[-1] == (28, 28)  # 32 + 24 pictures in batches of 8, four times
    assert away(after, teacher, pictures(4)) < 0.8 * away(copy.deepcopy(before), teacher, pictures(4))


def test_early_stop_looks_at_the_dense_losses_of_the_validation_pictures(
    yolo: Yolo, trained_checkpoint: Path, easy_shapes: Path, recipe: Recipe, tmp_path: Path
) -> None:
    yolo.save(prune(yolo, yolo.load(trained_checkpoint), target=0.2), tmp_path / "pruned.pt")
    lesson = Lesson(easy_shapes, replace(DENSE, neck=0.0), teacher=trained_checkpoint)

    curve = yolo.finetune(
        tmp_path / "pruned.pt", lesson, recipe(epochs=2, patience=2), IMGSZ, 0, tmp_path / "out.pt", unwatched
    )

    assert len(curve) == 2
    assert (tmp_path / "out.pt").stat().st_size < 1.5 * (tmp_path / "pruned.pt").stat().st_size  # no teacher in it


def test_masks_alone_teach_a_detector_nothing(yolo: Yolo, detect_checkpoint: Path) -> None:
    with pytest.raises(StageError, match="a detector has no masks to learn from"):
        losses(yolo, detect_checkpoint, yolo.load(detect_checkpoint), Distillation(labels=0.0, masks=1.0))


def test_a_neck_whose_channels_are_not_known_is_refused(yolo: Yolo, trained_checkpoint: Path) -> None:
    pruned = prune(yolo, yolo.load(trained_checkpoint), target=0.3)

    with pytest.raises(StageError, match="which channels this net's neck still has is not known"):
        channels_read(pruned, yolo.load(trained_checkpoint), {})


def test_ultralytics_own_distillation_keeps_the_pruned_net(
    yolo: Yolo, pruned_checkpoint: Path, seg_checkpoint: Path, shapes: Path, recipe: Recipe, tmp_path: Path
) -> None:
    lesson = Lesson(shapes, Distillation(features=6.0), teacher=seg_checkpoint)

    yolo.finetune(pruned_checkpoint, lesson, recipe(), IMGSZ, 0, tmp_path / "out.pt", unwatched)

    before, after = (yolo.load(path).state_dict() for path in (pruned_checkpoint, tmp_path / "out.pt"))
    assert {name: value.shape for name, value in before.items()} == {k: v.shape for k, v in after.items()}
    assert any(not torch.equal(before[name], after[name]) for name in before)
