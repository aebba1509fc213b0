from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from secateur.adapters.channel_pruning import ChannelPruner
from secateur.adapters.yolo.door import Yolo
from secateur.adapters.yolo.unroll import unroll
from secateur.adapters.yolo.untouched import untouched
from secateur.budgets import counted
from secateur.errors import StageError
from secateur.importances.magnitude import Magnitude
from secateur.ports import Budget, Lesson
from secateur.specs import Distillation, Scope
from tests.conftest import IMGSZ, Recipe, random_checkpoint, unwatched


def prune_head(yolo: Yolo, net: nn.Module) -> nn.Module:
    """A copy that lost channels in its head alone."""
    fixed = [*yolo.fixed_layers(net, head=True), *net.model[:-1]]
    pruner = ChannelPruner()
    widths = pruner.widths(net, fixed, IMGSZ)
    budget = Budget(0.1, "macs", counted("macs", net, widths, IMGSZ, pruner), widths)
    return pruner.prune(net, fixed, Magnitude(), Scope(), budget, IMGSZ).net


@pytest.mark.parametrize("architecture", ["yolov8n-seg.yaml", "yolo11n-seg.yaml", "yolo26n-seg.yaml", "yolov8n.yaml"])
def test_a_net_that_lost_nothing_is_untouched(architecture: str, yolo: Yolo, shapes: Path, tmp_path: Path) -> None:
    net = yolo.load(random_checkpoint(architecture, tmp_path / "net.pt", yolo, shapes))

    names = [name for name, _ in net.named_parameters() if "dfl" not in name]

    assert [name for name in names if not name.startswith(tuple(f"{path}." for path in untouched(net, net)))] == []


def test_what_comes_after_a_cut_is_touched(yolo: Yolo, seg_checkpoint: Path) -> None:
    unpruned, net = yolo.load(seg_checkpoint), yolo.load(seg_checkpoint)
    feeds_all = net.model[0].conv
    feeds_all.weight = nn.Parameter(feeds_all.weight[:-1])

    assert untouched(net, unpruned) == []


def test_a_cut_in_one_branch_of_the_head_touches_that_branch_alone(yolo: Yolo, seg_checkpoint: Path) -> None:
    unpruned, net = yolo.load(seg_checkpoint), yolo.load(seg_checkpoint)
    head = net.model[-1]
    last = head.cv3[1][2]
    last.weight = nn.Parameter(last.weight[:, :-1])

    touched = set(untouched(unpruned, unpruned)) - set(untouched(net, unpruned))

    assert touched == {f"model.{head.i}.cv3.1"}


@pytest.mark.parametrize("distillation", [Distillation(), Distillation(features=6.0)], ids=["labels", "features"])
def test_untouched_layers_keep_their_weights_and_statistics_while_the_others_learn(
    distillation: Distillation, yolo: Yolo, seg_checkpoint: Path, shapes: Path, recipe: Recipe, tmp_path: Path
) -> None:
    unpruned = yolo.load(seg_checkpoint)
    yolo.save(prune_head(yolo, unpruned), tmp_path / "pruned.pt")
    lesson = Lesson(shapes, distillation, teacher=seg_checkpoint, unpruned=seg_checkpoint)

    yolo.finetune(tmp_path / "pruned.pt", lesson, recipe(), IMGSZ, 0, tmp_path / "out.pt", unwatched)

    before, after = (yolo.load(tmp_path / f"{name}.pt").state_dict() for name in ("pruned", "out"))
    kept = tuple(f"{path}." for path in untouched(yolo.load(tmp_path / "pruned.pt"), unroll(unpruned)))
    changed = {name for name, values in before.items() if not torch.equal(values, after[name])}
    assert {name.split(".")[1] for name in kept} >= {str(number) for number in range(len(unpruned.model) - 1)}
    assert [name for name in changed if name.startswith(kept) and "num_batches" not in name] == []
    assert any(name.startswith(f"model.{unpruned.model[-1].i}.cv3") for name in changed)


def test_a_net_that_lost_nothing_has_nothing_to_learn(
    yolo: Yolo, seg_checkpoint: Path, shapes: Path, recipe: Recipe, tmp_path: Path
) -> None:
    yolo.save(yolo.load(seg_checkpoint), tmp_path / "whole.pt")
    lesson = Lesson(shapes, Distillation(), unpruned=seg_checkpoint)

    with pytest.raises(StageError, match="^finetune.freeze=untouched leaves nothing to learn"):
        yolo.finetune(tmp_path / "whole.pt", lesson, recipe(), IMGSZ, 0, tmp_path / "out.pt", unwatched)
