from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from ultralytics import YOLO

from secateur.adapters.channel_pruning import ChannelPruner
from secateur.adapters.yolo.door import Yolo
from secateur.ports import Tools
from secateur.results import Artifact
from secateur.runner import Runner
from secateur.specs import Sparsity
from secateur.stages import sparsify
from secateur.store import Store, artifact
from tests.conftest import IMGSZ, Recipe, no_progress, prune

if TYPE_CHECKING:
    from torch import nn

STRONG, NONE = 1.0, 0.0

Sparsify = Callable[..., sparsify.Outputs]


@pytest.fixture(scope="module")
def tools(yolo: Yolo) -> Tools:
    return Tools(yolo, ChannelPruner(), yolo, no_progress)


@pytest.fixture(scope="module")
def stage(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    return Runner(tools, Store(tmp_path_factory.mktemp("sparse") / "store"))


@pytest.fixture(scope="module")
def inputs(seg_checkpoint: Path, shapes: Path, recipe: Recipe) -> sparsify.Inputs:
    sparsity = Sparsity(STRONG, recipe(epochs=2, lr0=0.002, warmup_epochs=0.0, freeze_batchnorm=True))
    return sparsify.Inputs(artifact(seg_checkpoint), artifact(shapes.parent), sparsity, True, (), IMGSZ, 0)


@pytest.fixture(scope="module")
def made(stage: Runner, inputs: sparsify.Inputs) -> sparsify.Outputs:
    return stage(sparsify.run, inputs, "sparse")


@pytest.fixture(scope="module")
def control(stage: Runner, inputs: sparsify.Inputs) -> sparsify.Outputs:
    """The same training without what shrinks."""
    weak = replace(inputs, sparsity=replace(inputs.sparsity, strength=NONE))
    return stage(sparsify.run, weak, "sparse")


def weakest(net: nn.Module, weights: Artifact, tools: Tools) -> float:
    """Mean norm, in `weights`, of the quarter of each group's channels that is the weakest in `net`."""
    other = tools.detector.load(weights.path)
    before, after = (tools.pruner.norms(some, tools.detector.fixed_layers(some, True)) for some in (net, other))
    found = [a[b.argsort()[: len(b) // 4]] for b, a in zip(before, after, strict=True)]
    return float(torch.cat(found).mean())


def test_the_weakest_channels_shrink_more_than_by_the_same_training_without(
    made: sparsify.Outputs, control: sparsify.Outputs, inputs: sparsify.Inputs, tools: Tools
) -> None:
    net = tools.detector.load(inputs.weights.path)

    assert weakest(net, made.weights, tools) < 0.99 * weakest(net, control.weights, tools)


def test_what_the_weakest_quarter_holds_becomes_less_and_is_told(
    made: sparsify.Outputs, control: sparsify.Outputs
) -> None:
    before, after = made.weakest_quarter

    assert before == control.weakest_quarter[0]
    assert 0 < after < control.weakest_quarter[1] < 0.25
    assert after < before


def test_each_epoch_is_told_and_a_result_that_is_there_is_not_made_again(
    made: sparsify.Outputs, stage: Runner, inputs: sparsify.Inputs
) -> None:
    again = stage(sparsify.run, inputs, "sparse")

    assert [epoch.epoch for epoch in made.curve] == [1, 2]
    assert again == made
    assert [path.name for path in made.weights.path.parent.iterdir() if path.suffix == ".pt"] == ["sparse.pt"]


def test_what_comes_out_opens_in_plain_ultralytics_and_can_be_pruned(made: sparsify.Outputs, yolo: Yolo) -> None:
    net = yolo.load(made.weights.path)

    assert YOLO(made.weights.path).task == "segment"
    assert ChannelPruner().footprint(prune(yolo, net, 0.3), IMGSZ).macs < ChannelPruner().footprint(net, IMGSZ).macs


def test_a_layer_that_is_kept_learns_as_without(
    inputs: sparsify.Inputs, tools: Tools, stage: Runner, made: sparsify.Outputs
) -> None:
    kept = stage(sparsify.run, replace(inputs, keep=("model.0.*",)), "sparse")

    def first_norm(outputs: sparsify.Outputs) -> float:
        return float(tools.detector.load(outputs.weights.path).model[0].conv.weight.norm())

    assert first_norm(kept) > first_norm(made)
