"""What must hold for every family of nets, with random weights: it is pruned, trained, exported and opened again."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn
from ultralytics import YOLO
from ultralytics.nn.tasks import DetectionModel

from secateur.adapters.channel_pruning import ChannelPruner
from secateur.adapters.yolo.door import Yolo
from tests.conftest import IMGSZ, Recipe, by_labels, no_progress, prune, random_checkpoint, unwatched

if TYPE_CHECKING:
    from torch import Tensor

ATTENTION = "attention splits its channels into heads of a fixed width"
DFL = "its weights are fixed"
BRANCH = "this branch of the head is trained, but does not ship"
FAMILIES = {
    "yolov8n-seg": {"model.56.dfl": DFL},
    "yolov8s-seg": {"model.56.dfl": DFL},
    "yolov8n": {"model.56.dfl": DFL},
    "yolo11n-seg": {"model.28.attn": ATTENTION, "model.59.dfl": DFL},
    "yolo26n-seg": {
        "model.28.attn": ATTENTION,
        "model.56.1.attn": ATTENTION,
        "model.59.one2one_cv2": BRANCH,
        "model.59.one2one_cv3": BRANCH,
        "model.59.one2one_cv4": BRANCH,
        "model.59.proto.feat_refine": "the semantic layers, which run in training only, read it",
    },
}
"""With what is kept in each."""


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def unpruned(tmp_path_factory: pytest.TempPathFactory, yolo: Yolo, shapes: Path, family: str) -> nn.Module:
    return yolo.load(random_checkpoint(f"{family}.yaml", tmp_path_factory.mktemp(family) / "net.pt", yolo, shapes))


@pytest.fixture(scope="module")
def pruned(yolo: Yolo, unpruned: nn.Module) -> nn.Module:
    return prune(yolo, unpruned, target=0.3)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, yolo: Yolo, pruned: nn.Module) -> Path:
    out = tmp_path_factory.mktemp("saved") / "pruned.pt"
    yolo.save(pruned, out)
    return out


def picture(count: int = 1) -> Tensor:
    return torch.rand(count, 3, IMGSZ, IMGSZ, generator=torch.Generator().manual_seed(0))


def outputs(net: nn.Module) -> list[Tensor]:
    """What the exported net gives: detections, and prototypes where there are masks."""
    with torch.no_grad():
        found = net.eval()(picture())[0]
    return list(found) if isinstance(found, tuple) else [found]


def tensors(outputs: Any) -> Iterator[Tensor]:
    if isinstance(outputs, dict):
        outputs = list(outputs.values())
    if isinstance(outputs, list | tuple):
        for output in outputs:
            yield from tensors(output)
    else:
        yield outputs


def widths(net: nn.Module) -> dict[str, torch.Size]:
    return {name: values.shape for name, values in net.state_dict().items()}


def test_sparse_training_shrinks_every_group_and_no_channel_that_stays(yolo: Yolo, unpruned: nn.Module) -> None:
    net, pruner = copy.deepcopy(unpruned), ChannelPruner()
    fixed = yolo.fixed_layers(net, True)
    regularize = pruner.regularizer(net, fixed, 0.01)
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)

    regularize()

    normalized = [m for layer in fixed for m in layer.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(net.get_submodule(name).weight.grad.any() for name in pruner.widths(net, fixed, IMGSZ))
    assert all(torch.isfinite(parameter.grad).all() for parameter in net.parameters())
    assert not any(layer.weight.grad.any() for layer in normalized)


def test_it_is_pruned_to_70_percent_of_its_macs(unpruned: nn.Module, pruned: nn.Module) -> None:
    left = ChannelPruner().footprint(pruned, IMGSZ).macs / ChannelPruner().footprint(unpruned, IMGSZ).macs

    assert left == pytest.approx(0.7, abs=0.02)  # in portions of 8


def test_what_is_kept_is_named_with_the_reason(yolo: Yolo, unpruned: nn.Module, family: str) -> None:
    assert yolo.unprunable_layers(unpruned) == FAMILIES[family]


def test_attention_and_what_it_reads_keep_their_channels(unpruned: nn.Module, pruned: nn.Module, family: str) -> None:
    for name in (name for name, why in FAMILIES[family].items() if why == ATTENTION):
        assert widths(pruned.get_submodule(name)) == widths(unpruned.get_submodule(name))


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_the_pruned_net_runs(pruned: nn.Module, training: bool) -> None:
    with torch.no_grad():
        found = list(tensors(copy.deepcopy(pruned).train(training)(picture(2))))

    assert found
    assert all(torch.isfinite(output).all() for output in found)


def test_the_pruned_net_is_trained_as_it_is(
    yolo: Yolo, saved: Path, pruned: nn.Module, shapes: Path, recipe: Recipe, tmp_path: Path
) -> None:
    yolo.finetune(saved, by_labels(shapes), recipe(), IMGSZ, 0, tmp_path / "tuned.pt", unwatched)

    tuned, before = yolo.load(tmp_path / "tuned.pt"), yolo.load(saved)
    assert widths(tuned) == widths(pruned)
    assert not torch.equal(tuned.model[0].conv.weight, before.model[0].conv.weight)


def test_the_exported_net_gives_the_same_outputs(yolo: Yolo, saved: Path, tmp_path: Path) -> None:
    yolo.export_onnx(saved, IMGSZ, tmp_path / "pruned.onnx")

    session = onnxruntime.InferenceSession(tmp_path / "pruned.onnx")
    got = session.run(None, {session.get_inputs()[0].name: picture().numpy()})
    for expected, output in zip(outputs(yolo.load(saved)), got, strict=True):
        np.testing.assert_allclose(output, expected.numpy(), rtol=1e-3, atol=1e-3)


def test_plain_ultralytics_opens_it_and_finds_the_same(yolo: Yolo, saved: Path) -> None:
    plain = YOLO(saved).model.float()

    for expected, output in zip(outputs(yolo.load(saved)), outputs(plain), strict=True):
        torch.testing.assert_close(output, expected)


def test_it_is_scored(yolo: Yolo, saved: Path, shapes: Path, family: str) -> None:
    score = yolo.evaluate(saved, shapes, IMGSZ, no_progress).accuracy

    assert score.images == 8
    assert (score.mask_map50_95 is not None) == family.endswith("-seg")


def test_a_block_of_another_family_is_kept_whole(yolo: Yolo) -> None:
    layers = [[-1, 1, "Conv", [32, 3, 2]], [-1, 1, "C2fCIB", [64, True]], [-1, 1, "Conv", [64, 3, 2]]]
    net = DetectionModel({"nc": 1, "backbone": layers, "head": [[[2], 1, "Detect", ["nc"]]]}, verbose=False)

    smaller = prune(yolo, net, target=0.3)

    assert yolo.unprunable_layers(net)["model.1"] == "secateur cannot follow channels through C2fCIB"
    assert smaller.model[1].cv2.conv.out_channels == 64
    assert smaller.model[2].conv.out_channels < 64
    assert all(torch.isfinite(output).all() for output in outputs(smaller))
