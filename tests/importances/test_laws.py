"""What must hold for every importance in the folder, on YOLOv8n-seg with random weights; then each one's numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
import torch
import yaml
from torch import nn

from secateur import plugins
from secateur.adapters.channel_pruning import ChannelPruner, Group, _groups
from secateur.adapters.yolo.door import Yolo
from secateur.convolutions import Positions, input_covariances
from secateur.importances.magnitude import Magnitude
from secateur.importances.taylor import Taylor
from secateur.ports import Importance
from tests.conftest import IMGSZ, ROOT, no_progress, pictures, prune

if TYPE_CHECKING:
    from torch import Tensor


@pytest.fixture(scope="module", params=plugins.names("importance"))
def importance(request: pytest.FixtureRequest) -> Importance:
    """Each part with the values of its yaml."""
    values = yaml.safe_load((ROOT / f"conf/importance/{request.param}.yaml").read_text())
    part: type[Any] = plugins.load("importance", values.pop("name"))
    return part(**values)


@pytest.fixture(scope="module")
def looked_at(yolo: Yolo, seg_checkpoint: Path, shapes: Path) -> nn.Module:
    """The net with the gradients of one batch."""
    return with_gradients(yolo, seg_checkpoint, shapes)


@pytest.fixture(scope="module")
def pruned(yolo: Yolo, looked_at: nn.Module, importance: Importance) -> nn.Module:
    return prune(yolo, looked_at, target=0.3, importance=importance)


def with_gradients(yolo: Yolo, weights: Path, data: Path) -> nn.Module:
    net = yolo.load(weights)
    yolo.accumulate_gradients(net, data, IMGSZ, 1, 8, 0, no_progress)
    return net


def groups(yolo: Yolo, net: nn.Module) -> list[Group]:
    covariances = input_covariances(net, pictures(8), Positions(50, seed=0))
    return _groups(net, yolo.fixed_layers(net, head=True), IMGSZ, covariances)


def outputs(net: nn.Module) -> Iterator[Tensor]:
    with torch.no_grad():
        yield from net.eval()(picture())[0]


def picture() -> Tensor:
    return torch.rand(1, 3, IMGSZ, IMGSZ, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def scores(yolo: Yolo, looked_at: nn.Module, importance: Importance) -> list[tuple[Group, Tensor]]:
    return [(group, importance.score(group)) for group in groups(yolo, looked_at)]


# ---- laws ----------------------------------------------------------------------------------------


def test_every_channel_of_every_group_gets_a_finite_score(scores: list[tuple[Group, Tensor]]) -> None:
    for group, found in scores:
        assert found.shape == (group.channels,)
        assert torch.isfinite(found).all()


def test_scores_tell_channels_apart(scores: list[tuple[Group, Tensor]]) -> None:
    assert all(len(found.unique()) > 1 for _, found in scores)


def test_the_same_net_and_pictures_get_the_same_scores(
    yolo: Yolo, seg_checkpoint: Path, shapes: Path, scores: list[tuple[Group, Tensor]], importance: Importance
) -> None:
    again = groups(yolo, with_gradients(yolo, seg_checkpoint, shapes))

    for (group, found), same in zip(scores, again, strict=True):
        assert group.channels > 64 or torch.equal(found, importance.score(same))


def test_scoring_leaves_the_net_alone(
    yolo: Yolo, seg_checkpoint: Path, looked_at: nn.Module, scores: list[tuple[Group, Tensor]]
) -> None:
    torch.testing.assert_close(dict(looked_at.state_dict()), dict(yolo.load(seg_checkpoint).state_dict()))


def test_the_net_is_pruned_to_70_percent_of_its_macs(looked_at: nn.Module, pruned: nn.Module) -> None:
    left = ChannelPruner().footprint(pruned, IMGSZ).macs / ChannelPruner().footprint(looked_at, IMGSZ).macs

    assert left == pytest.approx(0.7, abs=0.01)  # in portions of 8


def test_the_pruned_net_runs_in_train_and_in_eval_mode(pruned: nn.Module) -> None:
    with torch.no_grad():
        trained = pruned.train()(picture().expand(2, -1, -1, -1))

    assert trained
    assert all(torch.isfinite(output).all() for output in outputs(pruned))


def test_the_pruned_net_exported_to_onnx_gives_the_same_outputs(yolo: Yolo, pruned: nn.Module, tmp_path: Path) -> None:
    yolo.save(pruned, tmp_path / "pruned.pt")

    yolo.export_onnx(tmp_path / "pruned.pt", IMGSZ, tmp_path / "pruned.onnx")

    session = onnxruntime.InferenceSession(tmp_path / "pruned.onnx")
    got = session.run(None, {session.get_inputs()[0].name: picture().numpy()})
    for expected, output in zip(outputs(yolo.load(tmp_path / "pruned.pt")), got, strict=True):
        np.testing.assert_allclose(output, expected.numpy(), rtol=1e-3, atol=1e-3)


# ---- numbers -------------------------------------------------------------------------------------


def chain() -> nn.Sequential:
    """Two channels: the weights that make them are (3, 4, 0) and (0, 2, 0), those that use them 1 and 2."""
    net = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False), nn.Conv2d(2, 1, 1, bias=False))
    net[0].weight.data = torch.tensor([[3.0, 4.0, 0.0], [0.0, 2.0, 0.0]])[:, :, None, None]
    net[1].weight.data = torch.tensor([[1.0, 2.0]])[:, :, None, None]
    return net


def scores_of(importance: Importance, net: nn.Sequential) -> Tensor:
    (group,) = _groups(net, [net[-1]], 8)
    scores = importance.score(group)
    return scores / scores.sum()  # only ratios matter


@pytest.mark.parametrize(
    ("p", "first", "second"),
    [
        (1, 3 + 4 + 1, 2 + 2),  # by hand: |3| + |4| and, of the next layer, |1|; |2| and |2|
        (2, 9 + 16 + 1, 4 + 4),  # squares
    ],
)
def test_magnitude_sums_weights_over_the_layers_that_share_a_channel(p: int, first: float, second: float) -> None:
    scores = scores_of(Magnitude(p=p), chain())

    torch.testing.assert_close(scores, torch.tensor([first, second]) / (first + second))


@pytest.mark.parametrize("p", [0, 3, -1])
def test_magnitude_of_another_degree_is_refused(p: int) -> None:
    with pytest.raises(ValueError, match=f"^p must be 1 or 2, got {p}$"):
        Magnitude(p=p)


def test_taylor_multiplies_weights_by_their_gradients() -> None:
    net = chain()
    net[0].weight.grad = torch.tensor([[1.0, 1.0, 5.0], [5.0, 10.0, 5.0]])[:, :, None, None]
    net[1].weight.grad = torch.tensor([[1.0, -3.0]])[:, :, None, None]

    scores = scores_of(Taylor(), net)

    # by hand: |3·1| + |4·1| + |1·1| = 8; |2·10| + |2·(-3)| = 26
    torch.testing.assert_close(scores, torch.tensor([8.0, 26.0]) / 34)
