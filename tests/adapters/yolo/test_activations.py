"""Swapped activations in every family, with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from ultralytics import YOLO
from ultralytics.nn.modules import Conv

from secateur.adapters.channel_pruning import ChannelPruner
from secateur.adapters.yolo.door import Yolo
from secateur.specs import Activation
from tests.conftest import IMGSZ, Recipe, by_labels, pictures, prune, random_checkpoint, unwatched

OTHERS: dict[Activation, type[nn.Module]] = {"relu": nn.ReLU, "hardswish": nn.Hardswish}


@pytest.fixture(params=OTHERS)
def activation(request: pytest.FixtureRequest) -> Activation:
    chosen: Activation = request.param
    return chosen


def count(net: nn.Module, kind: type[nn.Module]) -> int:
    """In how many places it stands, be it one module for all or not."""
    return sum(type(module) is kind for _, module in net.named_modules(remove_duplicate=False))


def swapped(yolo: Yolo, weights: Path, activation: Activation) -> nn.Module:
    net = yolo.load(weights)
    yolo.swap_activations(net, activation)
    return net


def outputs(net: nn.Module) -> list[torch.Tensor]:
    with torch.no_grad():
        return list(net.eval()(pictures(1))[0])


@pytest.mark.parametrize("architecture", ["yolov8n-seg", "yolov8n", "yolo11n-seg", "yolo26n-seg"])
def test_every_silu_of_every_family_is_swapped(
    architecture: str, activation: Activation, yolo: Yolo, shapes: Path, tmp_path: Path
) -> None:
    weights = random_checkpoint(f"{architecture}.yaml", tmp_path / "net.pt", yolo, shapes)
    net = yolo.load(weights)
    before = count(net, nn.SiLU)

    assert yolo.swap_activations(net, activation) == before > 50
    assert (count(net, nn.SiLU), count(net, OTHERS[activation])) == (0, before)


def test_a_swapped_net_gives_something_else(activation: Activation, yolo: Yolo, seg_checkpoint: Path) -> None:
    first, other = outputs(yolo.load(seg_checkpoint))[0], outputs(swapped(yolo, seg_checkpoint, activation))[0]

    assert torch.isfinite(other).all()
    assert not torch.allclose(first, other, rtol=0.01)


def test_nets_that_are_built_later_have_ultralytics_own(yolo: Yolo, seg_checkpoint: Path) -> None:
    swapped(yolo, seg_checkpoint, "relu")

    assert type(Conv.default_act) is nn.SiLU
    assert type(Conv(3, 8).act) is nn.SiLU
    assert count(yolo.load(seg_checkpoint), nn.ReLU) == 0


def test_parameters_and_macs_are_the_same(activation: Activation, yolo: Yolo, seg_checkpoint: Path) -> None:
    pruner, net = ChannelPruner(), swapped(yolo, seg_checkpoint, activation)

    assert pruner.footprint(net, IMGSZ) == pruner.footprint(yolo.load(seg_checkpoint), IMGSZ)


def test_it_is_pruned_and_plain_ultralytics_opens_it_and_finds_the_same(
    activation: Activation, yolo: Yolo, seg_checkpoint: Path, tmp_path: Path
) -> None:
    net = prune(yolo, swapped(yolo, seg_checkpoint, activation), target=0.3)
    yolo.save(net, tmp_path / "net.pt")

    plain = YOLO(tmp_path / "net.pt").model.float()
    assert count(plain, OTHERS[activation]) > 50
    for expected, output in zip(outputs(yolo.load(tmp_path / "net.pt")), outputs(plain), strict=True):
        torch.testing.assert_close(output, expected)


def test_it_is_exported_as_one_operator_each(
    activation: Activation, yolo: Yolo, seg_checkpoint: Path, tmp_path: Path
) -> None:
    net = swapped(yolo, seg_checkpoint, activation)
    yolo.save(net, tmp_path / "net.pt")

    yolo.export_onnx(tmp_path / "net.pt", IMGSZ, tmp_path / "net.onnx")

    operators = [node.op_type for node in onnx.load(tmp_path / "net.onnx").graph.node]
    assert operators.count({"relu": "Relu", "hardswish": "HardSwish"}[activation]) > 50
    assert operators.count("Sigmoid") == 1  # the decode's
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    got = session.run(None, {session.get_inputs()[0].name: pictures(1).numpy()})
    for expected, output in zip(outputs(yolo.load(tmp_path / "net.pt")), got, strict=True):
        np.testing.assert_allclose(output, expected.numpy(), rtol=1e-3, atol=1e-3)


def test_it_keeps_its_activations_when_it_is_trained(
    activation: Activation, yolo: Yolo, seg_checkpoint: Path, shapes: Path, recipe: Recipe, tmp_path: Path
) -> None:
    net = swapped(yolo, seg_checkpoint, activation)
    yolo.save(net, tmp_path / "net.pt")

    yolo.finetune(tmp_path / "net.pt", by_labels(shapes), recipe(), IMGSZ, 0, tmp_path / "tuned.pt", unwatched)

    tuned = yolo.load(tmp_path / "tuned.pt")
    assert count(tuned, OTHERS[activation]) == count(net, OTHERS[activation])
    assert not torch.equal(tuned.model[0].conv.weight, net.model[0].conv.weight)
