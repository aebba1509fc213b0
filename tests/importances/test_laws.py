"""What must hold for every importance in the folder, on YOLOv8n-seg with random weights; then each one's numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from secateur import plugins
from secateur.adapters.channel_pruning import ChannelPruner
from secateur.adapters.channel_pruning.groups import Group, groups_of
from secateur.adapters.yolo.door import Yolo
from secateur.convolutions import Positions, input_moments
from secateur.importances.activation import Activation
from secateur.importances.bn_scale import BnScale
from secateur.importances.fpgm import Fpgm
from secateur.importances.hessian import Hessian
from secateur.importances.lamp import Lamp
from secateur.importances.magnitude import Magnitude
from secateur.importances.random import Random
from secateur.importances.taylor import Taylor
from secateur.ports import Importance, Needs
from tests.conftest import IMGSZ, no_progress, pictures, prune

if TYPE_CHECKING:
    from torch import Tensor


@pytest.fixture(scope="module", params=plugins.names("importance"))
def importance(request: pytest.FixtureRequest) -> Importance:
    """Each part with its defaults, which are its yaml's."""
    part: type[Any] = plugins.load("importance", request.param)
    return part()


@pytest.fixture(scope="module")
def looked_at(yolo: Yolo, seg_checkpoint: Path, shapes: Path, importance: Importance) -> nn.Module:
    """The net with the gradients that the importance needs, if any."""
    return with_gradients(yolo, seg_checkpoint, shapes, importance.needs)


@pytest.fixture(scope="module")
def pruned(yolo: Yolo, looked_at: nn.Module, importance: Importance) -> nn.Module:
    return prune(yolo, looked_at, target=0.3, importance=importance)


def with_gradients(yolo: Yolo, weights: Path, data: Path, needs: Needs) -> nn.Module:
    net = yolo.load(weights)
    if needs == "gradients":
        yolo.accumulate_gradients(net, data, IMGSZ, 1, 8, 0, no_progress)
    if needs == "squared_gradients":
        yolo.accumulate_squared_gradients(net, data, IMGSZ, 4, 0, no_progress)
    return net


def groups(yolo: Yolo, net: nn.Module, needs: Needs) -> list[Group]:
    moments = input_moments(net, pictures(8), Positions(50, seed=0)) if needs == "inputs" else {}
    return groups_of(net, yolo.fixed_layers(net, head=True), IMGSZ, moments)


def outputs(net: nn.Module) -> Iterator[Tensor]:
    with torch.no_grad():
        yield from net.eval()(picture())[0]


def picture() -> Tensor:
    return torch.rand(1, 3, IMGSZ, IMGSZ, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def scores(yolo: Yolo, looked_at: nn.Module, importance: Importance) -> list[tuple[Group, Tensor]]:
    return [(group, importance.score(group)) for group in groups(yolo, looked_at, importance.needs)]


# ---- laws ----------------------------------------------------------------------------------------


def test_every_channel_of_every_group_gets_a_finite_score(scores: list[tuple[Group, Tensor]]) -> None:
    for group, found in scores:
        assert found.shape == (group.channels,)
        assert torch.isfinite(found).all()


def test_scores_tell_channels_apart(scores: list[tuple[Group, Tensor]]) -> None:
    silent = [group.name for group, found in scores if not found.any()]  # zeros: nothing is said

    assert len(silent) <= 1
    assert all(len(found.unique()) > 1 for group, found in scores if group.name not in silent)


def test_the_same_net_and_pictures_get_the_same_scores(
    yolo: Yolo, seg_checkpoint: Path, shapes: Path, scores: list[tuple[Group, Tensor]], importance: Importance
) -> None:
    net = with_gradients(yolo, seg_checkpoint, shapes, importance.needs)
    again = groups(yolo, net, importance.needs)

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


def group_of(net: nn.Sequential) -> Group:
    (group,) = groups_of(net, [net[-1]], 8)
    return group


def scores_of(importance: Importance, net: nn.Sequential) -> Tensor:
    scores = importance.score(group_of(net))
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


def test_hessian_multiplies_squared_weights_by_the_mean_square_of_gradients() -> None:
    net = chain()
    net[0].weight.grad = torch.tensor([[1.0, 1.0, 5.0], [5.0, 10.0, 5.0]])[:, :, None, None]
    net[1].weight.grad = torch.tensor([[1.0, 3.0]])[:, :, None, None]

    scores = scores_of(Hessian(), net)

    # by hand: 9·1 + 16·1 + 1·1 = 26; 4·10 + 4·3 = 52
    torch.testing.assert_close(scores, torch.tensor([26.0, 52.0]) / 78)


def test_squared_gradients_are_the_mean_over_single_pictures(yolo: Yolo, seg_checkpoint: Path, shapes: Path) -> None:
    one, both, squared = (yolo.load(seg_checkpoint) for _ in range(3))

    yolo.accumulate_gradients(one, shapes, IMGSZ, 1, 1, 0, no_progress)
    yolo.accumulate_gradients(both, shapes, IMGSZ, 2, 1, 0, no_progress)
    yolo.accumulate_squared_gradients(squared, shapes, IMGSZ, 2, 0, no_progress)

    layer = "model.0.conv.weight"
    first, total, got = (net.get_parameter(layer).grad for net in (one, both, squared))
    assert first is not None
    assert total is not None
    torch.testing.assert_close(got, (first**2 + (total - first) ** 2) / 2)  # by hand: the second is what was added


def test_bn_scale_is_the_size_of_gamma() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.Conv2d(2, 1, 1))
    net[1].weight.data = torch.tensor([-3.0, 1.0])

    torch.testing.assert_close(scores_of(BnScale(), net), torch.tensor([0.75, 0.25]))


def test_bn_scale_says_nothing_where_there_is_no_batchnorm() -> None:
    assert BnScale().score(group_of(chain())).tolist() == [0, 0]


def test_lamp_is_a_channels_share_of_what_is_no_smaller() -> None:
    scores = Lamp().score(group_of(chain()))

    # by hand, squares: 9 + 16 + 1 = 26 is the largest, 26 / 26; 4 + 4 = 8 of 8 + 26
    torch.testing.assert_close(scores, torch.tensor([1.0, 8 / 34]))


@pytest.mark.parametrize("transposed", [False, True])
def test_fpgm_is_the_distance_from_the_other_filters(transposed: bool) -> None:
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    filters = torch.tensor([[3.0, 4.0, 0.0], [-3.0, 4.0, 0.0], [3.0, 0.0, 0.0]])[:, :, None, None]
    net = nn.Sequential(kind(3, 3, 1), nn.Conv2d(3, 1, 1))
    net[0].weight.data = filters.transpose(0, 1) if transposed else filters

    scores = scores_of(Fpgm(), net)

    # by hand: the first two are 6 apart, first and third 4, second and third √(6² + 4²)
    across = 52**0.5
    torch.testing.assert_close(scores, torch.tensor([6 + 4, 6 + across, 4 + across]) / (2 * (10 + across)))


def test_activation_is_the_root_mean_square_of_what_is_read() -> None:
    net = chain()
    red, green = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0])
    moments = input_moments(net, torch.stack([red, green])[:, :, None, None], Positions(1, seed=0))

    (group,) = groups_of(net, [net[-1]], 8, moments)
    scores = Activation().score(group)

    # by hand: the channels give 3 and 4, 0 and 2: √(25 / 2) and √(4 / 2), as 5 to 2; their mean is 1
    torch.testing.assert_close(scores, torch.tensor([10 / 7, 4 / 7]))


def test_random_depends_on_the_seed_and_the_groups_name_alone() -> None:
    first, second = nn.Sequential(chain()), nn.Sequential(nn.Identity(), chain())
    groups = [groups_of(net, [net[-1][-1]], 8)[0] for net in (first, second)]

    (one, other), again = (Random().score(group) for group in groups), Random().score(groups[0])

    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert not torch.equal(one, Random(seed=1).score(groups[0]))
