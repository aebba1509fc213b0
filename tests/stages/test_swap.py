from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from secateur.adapters.channel_pruning import ChannelPruner
from secateur.adapters.yolo.door import Yolo
from secateur.errors import SpecError
from secateur.ports import Tools
from secateur.stages import swap
from secateur.store import artifact
from tests.conftest import no_progress


@pytest.fixture
def tools(yolo: Yolo) -> Tools:
    return Tools(yolo, ChannelPruner(), yolo, no_progress)


@pytest.fixture
def made(seg_checkpoint: Path, tools: Tools, tmp_path: Path) -> swap.Outputs:
    return swap.run(swap.Inputs(artifact(seg_checkpoint), "relu"), tools, tmp_path)


def kept(made: swap.Outputs) -> dict[str, list[int]]:
    channels: dict[str, list[int]] = json.loads(made.kept.path.read_bytes())
    return channels


def test_the_weights_stay_and_every_convolution_keeps_all_its_channels(
    made: swap.Outputs, yolo: Yolo, seg_checkpoint: Path
) -> None:
    before, net = yolo.load(seg_checkpoint), yolo.load(made.weights.path)

    assert all(torch.equal(value, net.state_dict()[name]) for name, value in before.state_dict().items())
    layers = {name: m for name, m in net.named_modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)}
    assert kept(made) == {name: list(range(layer.out_channels)) for name, layer in layers.items()}
    assert made.swapped == sum(type(m) is nn.ReLU for m in net.modules())


def test_a_net_that_has_no_silu_is_refused(made: swap.Outputs, tools: Tools, tmp_path: Path) -> None:
    with pytest.raises(
        SpecError, match="^activation=hardswish: the net has no SiLU to replace; silu leaves it as it is$"
    ):
        swap.run(swap.Inputs(made.weights, "hardswish"), tools, tmp_path)
