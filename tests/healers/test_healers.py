"""Healers on nets small enough to know the answer, then each part of the folder on YOLOv8n-seg."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from secateur import plugins
from secateur.adapters.channel_pruning import ChannelPruner
from secateur.adapters.yolo.door import Yolo
from secateur.budgets import counted
from secateur.healers.batchnorm import Batchnorm
from secateur.healers.least_squares import LeastSquares
from secateur.importances.magnitude import Magnitude
from secateur.ports import Budget, Cut, Healer
from secateur.specs import Activation, Scope
from tests.conftest import IMGSZ, ROOT, no_progress, pictures


class Pair(nn.Module):
    """Two convolutions; the second channel of the first is `factor` times its first one."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, channels, 3, padding=1), nn.Conv2d(channels, 5, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x))


def cut_pair() -> Cut:
    """A redundant channel is gone, and what reads it has not been told."""
    torch.manual_seed(0)
    before, net = Pair(2), Pair(1)
    with torch.no_grad():
        before.first.weight[1], before.first.bias[1] = 3 * before.first.weight[0], 3 * before.first.bias[0]
        net.first.weight.copy_(before.first.weight[:1])
        net.first.bias.copy_(before.first.bias[:1])
        net.second.weight.copy_(before.second.weight[:, :1])
        net.second.bias.copy_(before.second.bias)
    return Cut(net, before, {"first": [0], "second": [0, 1, 2, 3, 4]}, forward)


def test_least_squares_gives_back_what_a_redundant_channel_did() -> None:
    cut = cut_pair()

    LeastSquares(images=8, positions=1000, ridge=1e-6).heal(cut, pictures(8), 0, no_progress)

    inner = (slice(None), slice(None), slice(2, -2), slice(2, -2))  # at the border the bias does not reach
    with torch.no_grad():
        wanted, found = cut.before(pictures(4)), cut.net(pictures(4))
    assert (found - wanted)[inner].abs().max() < 0.02 * wanted[inner].std()


def test_least_squares_leaves_a_net_that_lost_nothing_as_it_was(yolo: Yolo, seg_checkpoint: Path) -> None:
    net, before = yolo.load(seg_checkpoint), yolo.load(seg_checkpoint)
    kept = {name: list(range(m.out_channels)) for name, m in net.named_modules() if hasattr(m, "out_channels")}

    LeastSquares(images=4, positions=50).heal(Cut(net, before, kept, forward), pictures(4), 0, no_progress)

    with torch.no_grad():
        torch.testing.assert_close(net(pictures(2))[0][0], before(pictures(2))[0][0], rtol=1e-2, atol=1e-2)


def test_batchnorm_counts_the_mean_and_variance_over_all_pictures() -> None:
    net = nn.Sequential(nn.BatchNorm2d(3)).train()
    seen = pictures(8) * 2 + 1

    Batchnorm(images=8, batch=4).heal(Cut(net, net, {}, forward), seen, 0, no_progress)

    torch.testing.assert_close(net[0].running_mean, seen.mean((0, 2, 3)))
    halves = torch.stack([half.var((0, 2, 3)) for half in seen.split(4)])
    torch.testing.assert_close(net[0].running_var, halves.mean(0))
    assert net[0].momentum == 0.1


def forward(net: nn.Module, pictures: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = net.eval()(pictures)
    return found


@pytest.fixture(params=plugins.names("healing"))
def healer(request: pytest.FixtureRequest) -> Healer:
    values = yaml.safe_load((ROOT / f"conf/healing/{request.param}.yaml").read_text())
    part: type[Any] = plugins.load("healing", values.pop("name"))
    return part(**values)


def lively(yolo: Yolo, weights: Path) -> nn.Module:
    """Random weights, but right statistics."""
    net = yolo.load(weights)
    Batchnorm().heal(Cut(net, net, {}, yolo.flow), pictures(32), 0, no_progress)
    return net


def cut_yolo(yolo: Yolo, weights: Path) -> Cut:
    before = lively(yolo, weights)
    fixed, pruner = yolo.fixed_layers(before, head=True), ChannelPruner()
    widths = pruner.widths(before, fixed, IMGSZ)
    budget = Budget(0.2, "macs", counted("macs", before, widths, IMGSZ, pruner), widths)
    made = pruner.prune(before, fixed, Magnitude(), Scope(), budget, IMGSZ)
    return Cut(made.net, before, made.kept, yolo.flow)


def test_healing_changes_values_but_no_shape(yolo: Yolo, seg_checkpoint: Path, healer: Healer) -> None:
    cut = cut_yolo(yolo, seg_checkpoint)
    shapes = {name: value.shape for name, value in cut.net.state_dict().items()}
    wrong = away(cut.net, cut.before)

    healer.heal(cut, pictures(32), 0, no_progress)

    assert {name: value.shape for name, value in cut.net.state_dict().items()} == shapes
    assert all(torch.isfinite(value).all() for value in cut.net.state_dict().values())
    assert away(cut.net, cut.before) != wrong
    assert not cut.net.training


def test_least_squares_brings_the_prototypes_nearer_to_the_unpruned_ones(yolo: Yolo, seg_checkpoint: Path) -> None:
    cut = cut_yolo(yolo, seg_checkpoint)
    wrong = away(cut.net, cut.before)

    LeastSquares(images=32).heal(cut, pictures(32), 0, no_progress)

    assert away(cut.net, cut.before) < 0.5 * wrong


@pytest.mark.parametrize("activation", ["relu", "hardswish"])
def test_least_squares_brings_a_net_with_other_activations_nearer_to_what_it_was(
    activation: Activation, yolo: Yolo, seg_checkpoint: Path
) -> None:
    before = lively(yolo, seg_checkpoint)
    net = copy.deepcopy(before)
    yolo.swap_activations(net, activation)
    cut = Cut(net, before, ChannelPruner().channels(net), yolo.flow)
    wrong = away(net, before)

    LeastSquares(images=32).heal(cut, pictures(32), 0, no_progress)

    assert away(net, before) < 0.5 * wrong


def away(net: nn.Module, other: nn.Module) -> float:
    with torch.no_grad():
        return float((net.eval()(pictures(4))[0][1] - other.eval()(pictures(4))[0][1]).pow(2).mean())
