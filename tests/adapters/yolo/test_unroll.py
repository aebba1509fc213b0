import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from ultralytics.nn.modules import C2PSA, C2f
from ultralytics.nn.tasks import BaseModel, DetectionModel, SegmentationModel

from secateur.adapters.yolo.unroll import unroll
from tests.conftest import enliven_batchnorm

ARCHITECTURES = ("yolov8n-seg", "yolov8m-seg", "yolov8n", "yolo11n-seg", "yolo11n", "yolo26n-seg")


@pytest.fixture(scope="module", params=ARCHITECTURES)
def net(request: pytest.FixtureRequest) -> BaseModel:
    torch.manual_seed(0)
    kind = SegmentationModel if request.param.endswith("-seg") else DetectionModel
    made = kind(f"{request.param}.yaml", verbose=False)
    enliven_batchnorm(made)
    return made


@pytest.fixture
def picture() -> Tensor:
    return torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def tensors(outputs: Any) -> Iterator[Tensor]:
    """All tensors of nested outputs, in order."""
    if isinstance(outputs, Tensor):
        yield outputs
    elif isinstance(outputs, dict):
        for key in sorted(outputs):
            yield from tensors(outputs[key])
    elif isinstance(outputs, list | tuple):
        for output in outputs:
            yield from tensors(output)


def assert_same_outputs(one: nn.Module, other: nn.Module, picture: Tensor) -> None:
    with torch.no_grad():
        pairs = list(zip(tensors(one(picture)), tensors(other(picture)), strict=True))
    assert pairs
    for expected, got in pairs:
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_an_unrolled_net_equals_the_original_in_eval_mode(net: BaseModel, picture: Tensor) -> None:
    unrolled = unroll(copy.deepcopy(net))

    assert_same_outputs(copy.deepcopy(net).eval(), unrolled.eval(), picture)


def test_an_unrolled_net_equals_the_original_in_train_mode(net: BaseModel, picture: Tensor) -> None:
    unrolled = unroll(copy.deepcopy(net))

    assert_same_outputs(copy.deepcopy(net).train(), unrolled.train(), picture)


def test_an_unrolled_net_has_as_many_parameters(net: BaseModel) -> None:
    unrolled = unroll(copy.deepcopy(net))

    assert sum(p.numel() for p in unrolled.parameters()) == sum(p.numel() for p in net.parameters())


def test_an_unrolled_net_holds_only_classes_of_ultralytics_and_torch(net: BaseModel) -> None:
    unrolled = unroll(copy.deepcopy(net))

    assert not [m for m in unrolled.modules() if isinstance(m, C2f | C2PSA)]
    assert {type(m).__module__.split(".")[0] for m in unrolled.modules()} == {"torch", "ultralytics"}


def test_a_second_time_changes_nothing(net: BaseModel, picture: Tensor) -> None:
    once = unroll(copy.deepcopy(net))
    twice = unroll(copy.deepcopy(once))

    assert [layer.f for layer in twice.model] == [layer.f for layer in once.model]
    assert_same_outputs(once.eval(), twice.eval(), picture)


def test_a_layer_may_read_the_one_before_the_last(picture: Tensor) -> None:
    """As YOLOv3-tiny's do."""
    layers = [[-1, 1, "Conv", [8, 3, 2]], [-1, 1, "C2f", [8]], [-1, 1, "Conv", [8]], [-2, 1, "Conv", [8]]]
    head = [[[2, 3], 1, "Detect", ["nc"]]]
    net = DetectionModel({"nc": 1, "backbone": layers, "head": head}, verbose=False)

    assert_same_outputs(copy.deepcopy(net).eval(), unroll(net).eval(), picture)
