from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest
import torch
from torch import nn

from secateur.adapters.channel_pruning import ChannelPruner
from secateur.adapters.channel_pruning.counting import Ledger, ledger_of
from secateur.adapters.channel_pruning.cutting import without
from secateur.adapters.channel_pruning.groups import groups_of
from secateur.adapters.channel_pruning.nearest import TRUSTED
from secateur.adapters.channel_pruning.row import row_of
from secateur.adapters.yolo.door import Yolo
from secateur.budgets import counted
from secateur.convolutions import Moments
from secateur.errors import GraphError
from secateur.importances.magnitude import Magnitude
from secateur.importances.taylor import Taylor
from secateur.ports import Budget, GroupView
from secateur.results import Footprint, Sensitivity
from secateur.specs import Scope
from tests.conftest import IMGSZ, prune

if TYPE_CHECKING:
    from torch import Tensor

PRUNER = ChannelPruner()
FINE = Scope(round_to=1)


# ---- a row of convolutions, small enough to count by hand ----------------------------------------


def row_of_convolutions(*widths: int) -> nn.Sequential:
    """3×3 convolutions without bias over 3 colours, of these widths; all weights of channel i are i + 1."""
    layers = [nn.Conv2d(i, o, 3, padding=1, bias=False) for i, o in zip((3, *widths), widths, strict=False)]
    for layer in layers:
        numbers = torch.arange(1.0, layer.out_channels + 1)
        layer.weight.data = numbers[:, None, None, None].expand_as(layer.weight).clone()
    return nn.Sequential(*layers)


@dataclass(frozen=True)
class Given:
    """Scores said beforehand, by the name of the group."""

    needs: ClassVar[str] = "weights"
    scores: dict[str, list[float]]

    def score(self, group: GroupView) -> Tensor:
        return torch.tensor(self.scores[group.name])


def prune_row(
    net: nn.Sequential, target: float, importance: object = None, scope: Scope = FINE, unit: str = "channels"
) -> nn.Sequential:
    fixed = [net[-1]]
    widths = PRUNER.widths(net, fixed, 8)
    budget = Budget(target, unit, counted(unit, net, widths, 8, PRUNER), widths)
    return PRUNER.prune(net, fixed, importance or Magnitude(), scope, budget, 8).net


def outputs(net: nn.Sequential) -> list[int]:
    return [layer.out_channels for layer in net]


def first_weights(layer: nn.Conv2d) -> list[float]:
    """One weight of each channel."""
    return layer.weight[:, 0, 0, 0].tolist()


def test_a_footprint_is_what_one_counts_by_hand() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1, bias=False))

    counted = PRUNER.footprint(net, 10)

    # by hand: 3·8·9 weights + 8 biases + 8·4 weights; MACs: 100 pixels of each, the biases' additions
    assert counted.params == 216 + 8 + 32
    assert counted.macs == 100 * (216 + 8 + 32)


@pytest.mark.parametrize("activation", [nn.SiLU(), nn.ReLU(), nn.LeakyReLU(), nn.GELU(), nn.Hardswish()], ids=str)
def test_no_activation_counts_for_a_mac_however_many_layers_share_it(activation: nn.Module) -> None:
    layers = row_of_convolutions(8, 4, 2)
    net = nn.Sequential(*(nn.Sequential(layer, activation) for layer in layers))

    assert PRUNER.footprint(net, 10) == PRUNER.footprint(layers, 10)


def test_yolov8n_seg_at_640_costs_what_the_design_says(yolo: Yolo) -> None:
    from ultralytics.nn.tasks import SegmentationModel

    counted = PRUNER.footprint(SegmentationModel("yolov8n-seg.yaml", nc=80, verbose=False), 640)

    assert counted == Footprint(params=3_409_968, macs=6_355_040_000)


def test_widths_are_those_of_the_layers_that_may_be_pruned() -> None:
    net = row_of_convolutions(4, 6, 5)

    assert PRUNER.widths(net, [net[-1]], 8) == {"0": 4, "1": 6}


def test_local_cuts_every_group_by_the_same_share() -> None:
    pruned = prune_row(row_of_convolutions(8, 32, 16, 5), target=0.5)

    assert outputs(pruned) == [4, 16, 8, 5]


def test_local_takes_the_least_important_channels_of_each_group() -> None:
    given = Given({"0": [3.0, 1.0, 4.0, 2.0], "1": [0.9, 0.7, 0.8, 0.6]})

    pruned = prune_row(row_of_convolutions(4, 4, 2), target=0.5, importance=given)

    assert [first_weights(layer) for layer in pruned] == [[1.0, 3.0], [1.0, 3.0], [1.0, 2.0]]


def test_global_takes_the_lowest_scored_first_wherever_they_are() -> None:
    given = Given({"0": [10.0, 11.0, 12.0, 13.0], "1": [5.0, 1.0, 2.0, 14.0]})

    pruned = prune_row(row_of_convolutions(4, 4, 2), 3 / 8, given, Scope(kind="global", round_to=1))

    assert [first_weights(layer) for layer in pruned] == [[1.0, 2.0, 3.0, 4.0], [4.0], [1.0, 2.0]]


def test_portions_go_in_whole_multiples_of_round_to() -> None:
    pruned = prune_row(row_of_convolutions(20, 32, 12, 5), target=0.3, scope=Scope(round_to=8))

    # by hand: 20 -> 16 is the first portion that evens 20 out, 32 -> 24 the next; 64 - 12 is nearest to 64 · 0.7
    assert outputs(pruned)[:2] == [16, 24]
    assert outputs(pruned)[2] in (8, 12)


def test_no_group_loses_more_than_max_ratio() -> None:
    given = Given({"0": [1.0] * 10, "1": [100.0] * 10})

    pruned = prune_row(row_of_convolutions(10, 10, 5), 0.4, given, Scope(kind="global", max_ratio=0.5, round_to=1))

    assert outputs(pruned) == [5, 7, 5]


def test_max_ratio_is_of_the_unpruned_width_not_of_the_present_one() -> None:
    net, scope = row_of_convolutions(10, 10, 5), Scope(max_ratio=0.5, round_to=1)
    budget = channels_of(net, 0.4)

    once = PRUNER.prune(net, [net[-1]], Magnitude(), scope, budget, 8).net
    with pytest.raises(GraphError, match="at most 0.500 can go"):
        PRUNER.prune(once, [once[-1]], Magnitude(), scope, replace(budget, target=0.6), 8)


def channels_of(net: nn.Module, target: float) -> Budget:
    """A share of this net's channels, all but the last layer's."""
    widths = PRUNER.widths(net, [list(net.children())[-1]], 8)
    return Budget(target, "channels", counted("channels", net, widths, 8, PRUNER), widths)


def test_a_target_out_of_reach_is_refused_with_what_is_reachable() -> None:
    with pytest.raises(
        GraphError,
        match=r"^0\.9 of the channels is out of reach: at most 0\.500 can go; lower schedule\.target, or allow "
        r"more with scope\.max_ratio, scope\.head, scope\.keep or a smaller scope\.round_to$",
    ):
        prune_row(row_of_convolutions(10, 10, 5), 0.9, scope=Scope(max_ratio=0.5, round_to=1))


def test_a_net_without_anything_to_prune_is_refused() -> None:
    with pytest.raises(GraphError, match="the net has no group of channels that may be pruned"):
        prune_row(row_of_convolutions(5), 0.3)


def test_channels_are_counted_right_behind_a_transposed_convolution() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(4, 12, 2, 2), nn.Conv2d(12, 2, 1))
    scope = Scope(kind="global", round_to=1)
    given = Given({"0": [9.0] * 4, "1": [1.0] * 12})

    pruned = prune_row(net, 0.25, given, scope)  # 4 of 16
    given = Given({"0": [9.0] * 4, "1": [1.0] * 8})
    again = PRUNER.prune(pruned, [pruned[-1]], given, scope, channels_of(net, 0.5), 8).net

    assert outputs(pruned) == [4, 8, 2]
    assert outputs(again) == [4, 4, 2]


@pytest.mark.parametrize("kind", ["local", "global"])
def test_a_group_that_no_gradient_reached_is_not_emptied(kind: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(*(nn.Conv2d(i, o, 3, padding=1, bias=False) for i, o in ((3, 8), (8, 8), (8, 8), (8, 2))))
    for layer in net:
        layer.weight.grad = torch.rand_like(layer.weight)
    net[1].weight.grad.zero_()
    net[2].weight.grad.zero_()

    pruned = prune_row(net, 0.5, Taylor(), Scope(kind=kind, round_to=1))

    assert outputs(pruned)[1] >= 3


# ---- what a regularizer adds to the gradients ----------------------------------------------------


def gradients_of_regularizing(net: nn.Module, fixed: list[nn.Module], strength: float = 1.0) -> dict[str, Tensor]:
    """Beside a loss that has none."""
    regularize = PRUNER.regularizer(net, fixed, strength)
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    regularize()
    return {name: parameter.grad for name, parameter in net.named_parameters() if parameter.grad is not None}


def three_channels() -> nn.Sequential:
    """A convolution of three channels over one colour, BatchNorm, and a reader; no channel is as large as another."""
    net = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1, bias=False))
    net[0].weight.data = torch.tensor([[1.0, 0, 0], [2, 0, 0], [5, 0, 0]])[:, :, None, None]
    net[1].weight.data = torch.tensor([0.0, 2, 0])
    net[2].weight.data = torch.tensor([[0.0, 1, 0], [0, 0, 0]])[:, :, None, None]
    return net


def test_the_weaker_a_channel_the_more_of_its_weights_is_added_to_their_gradients() -> None:
    net = three_channels()

    added = gradients_of_regularizing(net, [net[2]], strength=0.1)

    # by hand: the channels' norms are 1, √(2² + 2² + 1²) = 3 and 5 (all over √3), so γ is 16, 16^½ = 4 and 1
    assert added["0.weight"][:, :, 0, 0].tolist() == [
        pytest.approx([0.1 * 16 * 1, 0, 0]), pytest.approx([0.1 * 4 * 2, 0, 0]), pytest.approx([0.1 * 1 * 5, 0, 0]),
    ]  # fmt: skip
    assert added["1.weight"].tolist() == pytest.approx([0, 0.1 * 4 * 2, 0])
    assert added["2.weight"][:, :, 0, 0].tolist() == [pytest.approx([0, 0.1 * 4 * 1, 0]), [0, 0, 0]]
    assert not added["1.bias"].any()


def test_what_is_added_is_what_torch_prunings_own_regularizer_adds() -> None:
    import torch_pruning as tp

    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.Conv2d(8, 2, 1))
    nn.init.uniform_(net[1].weight)
    ours = gradients_of_regularizing(net, [net[4]], strength=0.01)

    importance = tp.importance.GroupMagnitudeImportance(p=2)
    theirs = tp.pruner.GroupNormPruner(net, torch.zeros(1, 3, 8, 8), importance, reg=0.01, ignored_layers=[net[4]])
    net.zero_grad(set_to_none=False)
    theirs.regularize(net)

    torch.testing.assert_close(ours, {name: parameter.grad for name, parameter in net.named_parameters()})


def test_it_is_added_to_the_gradient_of_the_loss_which_stays() -> None:
    net = three_channels()
    alone = gradients_of_regularizing(net, [net[2]])
    regularize = PRUNER.regularizer(net, [net[2]], 1.0)
    net.zero_grad()
    net(torch.ones(1, 3, 2, 2)).sum().backward()
    loss = {name: parameter.grad.clone() for name, parameter in net.named_parameters() if parameter.grad is not None}

    regularize()

    for name, parameter in net.named_parameters():
        torch.testing.assert_close(parameter.grad, loss[name] + alone[name])


def test_a_layer_that_keeps_its_channels_is_left_alone() -> None:
    net = row_of_convolutions(4, 6, 5)

    added = gradients_of_regularizing(net, [net[0], net[2]])

    assert not added["0.weight"].any()
    assert added["1.weight"].any()  # its own channels may go
    assert added["2.weight"].any()  # by what it reads


def test_a_transposed_convolution_is_shrunk_along_its_own_channels() -> None:
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ConvTranspose2d(3, 3, 1, bias=False), nn.Conv2d(3, 2, 1))
    net[1].weight.data = torch.tensor([[1.0, 2, 4]] * 3)[:, :, None, None]  # (inputs, outputs, …)
    net[2].weight.data.zero_()

    added = gradients_of_regularizing(net, [net[0], net[2]])

    factors = (added["1.weight"] / net[1].weight)[:, :, 0, 0]
    assert factors[0].tolist() == pytest.approx([16, 16 ** (2 / 3), 1])
    assert torch.equal(factors, factors[:1].expand(3, 3))


def test_channels_that_are_all_as_large_are_shrunk_alike() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.Conv2d(4, 2, 1, bias=False))
    for layer in net:
        nn.init.ones_(layer.weight)

    added = gradients_of_regularizing(net, [net[1]])

    assert torch.equal(added["0.weight"], torch.ones(4, 3, 1, 1))


# ---- YOLOv8n-seg ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def net(yolo: Yolo, seg_checkpoint: Path) -> nn.Module:
    return yolo.load(seg_checkpoint)


@pytest.fixture(scope="module")
def finely_pruned(yolo: Yolo, net: nn.Module) -> nn.Module:
    return prune(yolo, net, target=0.3, scope=FINE)


@pytest.fixture(scope="module")
def pruned(yolo: Yolo, net: nn.Module) -> nn.Module:
    """In portions of 8."""
    return prune(yolo, net, target=0.3)


def share_gone(pruned: nn.Module, net: nn.Module) -> float:
    return 1 - PRUNER.footprint(pruned, IMGSZ).macs / PRUNER.footprint(net, IMGSZ).macs


def all_widths(yolo: Yolo, net: nn.Module, head: bool = True) -> dict[str, int]:
    return PRUNER.widths(net, yolo.fixed_layers(net, head), IMGSZ)


def inside_head(net: nn.Module) -> list[int]:
    return [m.out_channels for m in net.model[-1].modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]


def outputs_of_net(net: nn.Module) -> list[tuple[int, ...]]:
    with torch.no_grad():
        return [tuple(output.shape) for output in net.eval()(torch.zeros(1, 3, IMGSZ, IMGSZ))[0]]


def test_a_target_in_macs_is_met_within_half_a_percent(net: nn.Module, finely_pruned: nn.Module) -> None:
    assert share_gone(finely_pruned, net) == pytest.approx(0.3, abs=0.005)


def test_a_target_in_macs_is_met_within_half_a_percent_in_portions_of_8(net: nn.Module, pruned: nn.Module) -> None:
    assert share_gone(pruned, net) == pytest.approx(0.3, abs=0.005)


def test_a_target_in_macs_is_met_where_channels_compete(yolo: Yolo, net: nn.Module) -> None:
    pruned = prune(yolo, net, target=0.3, scope=Scope(kind="global", round_to=1, max_ratio=0.45))

    after = all_widths(yolo, pruned)
    assert share_gone(pruned, net) == pytest.approx(0.3, abs=0.005)
    assert all(after[name] >= 0.55 * width for name, width in all_widths(yolo, net).items())


@pytest.mark.parametrize("unit", ["macs", "params", "channels"])
def test_what_is_added_up_layer_by_layer_is_what_is_counted_on_the_smaller_net(
    unit: str, yolo: Yolo, net: nn.Module
) -> None:
    fixed = yolo.fixed_layers(net, True)
    widths = PRUNER.widths(net, fixed, IMGSZ)
    budget = Budget(0.3, unit, counted(unit, net, widths, IMGSZ, PRUNER), widths)
    groups = groups_of(net, fixed, IMGSZ)
    row = tuple(row_of(groups, Magnitude(), Scope(kind="global", round_to=8), widths, None))
    ledger = ledger_of(net, groups, budget, IMGSZ)

    for front in (row[: len(row) // 5], row[: len(row) // 2], row):
        assert ledger.gone(front) == pytest.approx(budget.gone(without(net, front)[0]), abs=TRUSTED)


def test_where_it_were_added_up_wrongly_the_smaller_net_itself_would_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    net = row_of_convolutions(40, 40, 8)
    exact = Ledger.gone
    monkeypatch.setattr(Ledger, "gone", lambda self, portions: exact(self, portions) ** 3)

    assert sum(outputs(prune_row(net, 0.5))[:2]) == 40


def test_a_target_in_channels_is_met(yolo: Yolo, net: nn.Module) -> None:
    pruned = prune(yolo, net, target=0.3, scope=FINE, unit="channels")

    left = sum(all_widths(yolo, pruned).values()) / sum(all_widths(yolo, net).values())
    assert left == pytest.approx(0.7, abs=0.001)


def test_widths_become_multiples_of_round_to(yolo: Yolo, net: nn.Module, pruned: nn.Module) -> None:
    before, after = all_widths(yolo, net), all_widths(yolo, pruned)

    assert after.keys() == before.keys()
    assert after != before
    assert all(after[name] % 8 == 0 or after[name] == before[name] for name in before)


def test_local_cuts_all_wide_groups_about_evenly(yolo: Yolo, net: nn.Module, finely_pruned: nn.Module) -> None:
    after = all_widths(yolo, finely_pruned)

    left = [after[name] / width for name, width in all_widths(yolo, net).items() if width >= 64]
    assert max(left) - min(left) <= 1 / 64


def test_the_head_is_pruned_inside_but_its_outputs_stay(yolo: Yolo, net: nn.Module, finely_pruned: nn.Module) -> None:
    fixed = [
        [m.out_channels for layer in yolo.fixed_layers(each, head=True) for m in layer.modules() if is_convolution(m)]
        for each in (net, finely_pruned)
    ]

    assert fixed[0] == fixed[1] == [1, *[64] * 3, *[5] * 3, *[32] * 3, 32]  # DFL; boxes, classes, masks; prototypes
    assert outputs_of_net(finely_pruned) == outputs_of_net(net)
    assert sum(inside_head(finely_pruned)) < 0.9 * sum(inside_head(net))


def is_convolution(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d)


def test_no_layer_of_the_head_loses_an_output_where_it_may_not(yolo: Yolo, net: nn.Module) -> None:
    pruned = prune(yolo, net, target=0.3, scope=Scope(head=False, round_to=1))

    assert inside_head(pruned) == inside_head(net)
    assert share_gone(pruned, net) == pytest.approx(0.3, abs=0.005)


def test_rungs_are_shares_of_the_unpruned_net(yolo: Yolo, net: nn.Module, finely_pruned: nn.Module) -> None:
    further = prune(yolo, finely_pruned, target=0.45, original=net, scope=FINE)

    assert share_gone(further, net) == pytest.approx(0.45, abs=0.005)


def test_the_net_that_was_given_keeps_its_weights(yolo: Yolo, seg_checkpoint: Path) -> None:
    net = yolo.load(seg_checkpoint)
    before = copy.deepcopy(net.state_dict())

    prune(yolo, net, target=0.02)

    torch.testing.assert_close(dict(net.state_dict()), dict(before), rtol=0, atol=0)


def test_channels_that_stay_keep_their_weights_and_statistics(net: nn.Module, finely_pruned: nn.Module) -> None:
    before, after = net.model[0], finely_pruned.model[0]

    kept = [int((before.conv.weight == channel).flatten(1).all(1).nonzero()) for channel in after.conv.weight]
    assert len(kept) < len(before.conv.weight)
    assert torch.equal(after.bn.running_mean, before.bn.running_mean[kept])


class Twice(nn.Module):
    """The last convolution reads the first one's channels twice, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(8, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        return self.last(torch.cat([y, y], 1))


def test_a_layer_that_reads_a_channel_twice_says_so() -> None:
    net = Twice()

    seen = Moments()
    seen.add(torch.eye(8))

    (group,) = groups_of(net, [net.last], 8, {"last": seen})

    (reader,) = group.readers()
    assert [sorted(rows) for rows in reader.rows.tolist()] == [[0, 4], [1, 5], [2, 6], [3, 7]]


def test_the_macs_of_a_channel_are_all_that_go_with_it() -> None:
    net = Twice()

    (group,) = groups_of(net, [net.last], 8)

    assert group.macs == 64 * (3 * 9 + 2 * 5)  # positions x (what makes the channel + both that read it)
    once = PRUNER.prune(net, [net.last], Magnitude(), FINE, channels_of(net, 0.25), 8).net
    assert PRUNER.footprint(net, 8).macs - PRUNER.footprint(once, 8).macs == pytest.approx(group.macs, rel=0.05)


def test_isomorphic_takes_the_same_share_of_each_structure_and_the_lowest_scored_within_it() -> None:
    net = nn.Sequential(*(row_of_convolutions(4, 4, 4, 2)), nn.ConvTranspose2d(2, 4, 2, 2), nn.Conv2d(4, 2, 1))
    given = Given({"0": [9.0, 9.1, 9.2, 9.3], "1": [1.0, 2.0, 3.0, 4.0], "2": [5.0, 6.0, 7.0, 8.0],
                   "3": [99.0, 98.0], "4": [0.1, 0.2, 0.3, 0.4]})  # fmt: skip

    pruned = prune_row(net, target=0.5, importance=given, scope=Scope(kind="isomorphic", round_to=1, max_ratio=0.75))

    # by hand: 0, 1 and 2 are convolutions read by a convolution and give 6 of 12; 3 gives 1 of 2, 4 gives 2 of 4
    assert outputs(pruned) == [4, 1, 1, 1, 2, 2]


def test_a_scope_by_sensitivity_spares_the_group_that_costs_most() -> None:
    net, found = row_of_convolutions(8, 8, 5), Sensitivity((0.5,), {"0": (0.4,), "1": (0.01,)})
    scope = Scope(kind="sensitivity", round_to=1)

    pruned = PRUNER.prune(net, [net[-1]], Magnitude(), scope, channels_of(net, 5 / 16), 8, None, found)

    assert outputs(pruned.net) == [8, 3, 5]


def test_each_group_is_narrowed_alone_by_each_ratio() -> None:
    net = row_of_convolutions(4, 8, 5)

    narrowed = [(name, outputs(made)) for name, made in PRUNER.narrowed(net, [net[-1]], Magnitude(), (0.25, 0.5), 8)]

    assert narrowed == [("0", [3, 8, 5]), ("0", [2, 8, 5]), ("1", [4, 6, 5]), ("1", [4, 4, 5])]


@pytest.mark.parametrize(("fillers", "widths"), [(0, [2, 16, 2, 5]), (8, [2, 15, 2, 5])])
def test_small_portions_fill_what_a_large_one_leaves_of_the_budget(fillers: int, widths: list[int]) -> None:
    net = row_of_convolutions(2, 16, 2, 5)
    given = Given({"0": [0.1, 0.1], "1": [1.0] * 16, "2": [2.0, 2.0]})
    groups = PRUNER.widths(net, [net[-1]], 8)
    # by hand: 54 + 288 + 288 + 90 = 720 weights; a channel of 0 takes 27 + 144 with it, one of 1 takes 18 + 18
    budget = Budget(0.051, "params", counted("params", net, groups, 8, PRUNER), groups, fillers=fillers)

    pruned = PRUNER.prune(net, [net[-1]], given, Scope(kind="global", round_to=1), budget, 8)

    assert outputs(pruned.net) == widths


def test_a_group_never_loses_its_last_channel_however_high_the_ratio() -> None:
    net = row_of_convolutions(4, 5)

    assert [outputs(made) for _, made in PRUNER.narrowed(net, [net[-1]], Magnitude(), (0.99,), 8)] == [[1, 5]]


def test_max_ratio_is_met_where_floating_point_falls_short_of_it() -> None:
    net = row_of_convolutions(80, 5)  # 80 * (1 - 0.7) is 24.000000000000004

    pruned = prune_row(net, target=0.7, scope=Scope(max_ratio=0.7, round_to=8))

    assert outputs(pruned) == [24, 5]
