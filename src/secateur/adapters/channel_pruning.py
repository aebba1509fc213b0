"""THE door to torch_pruning: which channels hang together, which go first, and how many until the budget is met.

Channels are taken in portions of `round_to`, group by group, least important first. All portions of all groups stand
in one row, sorted by the scope's rule; pruning takes the front of that row, and bisection finds how much of it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn

from secateur.convolutions import Convolution, Positions, hooked, input_covariances, map_size, matrix, taps
from secateur.errors import GraphError
from secateur.ports import Budget, Importance, Pruned, Reader
from secateur.results import Footprint
from secateur.specs import Scope

POSITIONS = 200
"""Looked at in each map of each picture, for what a layer reads."""


@dataclass(frozen=True)
class Group:
    """`ports.GroupView` over a torch_pruning group, which is named by its first layer.

    `macs` are those that go with one of its channels; `covariances` are (inputs, inputs) of what each layer reads.
    """

    name: str
    native: Any
    names: Mapping[nn.Module, str]
    macs: float
    covariances: Mapping[str, Tensor]

    @property
    def channels(self) -> int:
        return len(self.native[0].idxs)

    def torch_pruning(self, criterion: str, **options: Any) -> Tensor:
        return getattr(tp.importance, criterion)(**options)(self.native)

    def readers(self) -> list[Reader]:
        return [self._reader(item) for item in self.native if self._is_reader(item)]

    def _is_reader(self, item: Any) -> bool:
        return _cuts_inputs(item) and self.names[item.dep.target.module] in self.covariances

    def _reader(self, item: Any) -> Reader:
        layer = item.dep.target.module
        copies = torch.tensor(item.idxs)[torch.tensor(item.root_idxs).argsort(stable=True)]
        first = copies.view(self.channels, -1, 1) * taps(layer)  # a concat may hold a channel several times
        rows = (first + torch.arange(taps(layer))).flatten(1)
        return Reader(matrix(layer), self.covariances[self.names[layer]], rows)


@dataclass(frozen=True)
class Portion:
    """Channels of one group that go together; `rank` says when."""

    group: str
    channels: tuple[int, ...]
    rank: tuple[float, float]


class ChannelPruner:
    """`ports.ChannelPruner` by torch_pruning's dependency graph."""

    def footprint(self, net: nn.Module, imgsz: int) -> Footprint:
        macs, params = tp.utils.count_ops_and_params(net.eval(), _example(imgsz))
        return Footprint(params=int(params), macs=int(macs))

    def widths(self, net: nn.Module, fixed: Sequence[nn.Module], imgsz: int) -> dict[str, int]:
        return {group.name: group.channels for group in _groups(net, fixed, imgsz)}

    def prune(
        self,
        net: nn.Module,
        fixed: Sequence[nn.Module],
        importance: Importance,
        scope: Scope,
        budget: Budget,
        imgsz: int,
        pictures: Tensor | None = None,
    ) -> Pruned:
        covariances = {} if pictures is None else input_covariances(net, pictures, Positions(POSITIONS, seed=0))
        groups = _groups(net, fixed, imgsz, covariances)
        if not groups:
            raise GraphError("the net has no group of channels that may be pruned")
        row = _row(groups, importance, scope, budget.widths)
        count = self._how_many(net, row, budget, imgsz)
        return _without(net, row[:count], imgsz)

    def _how_many(self, net: nn.Module, row: list[Portion], budget: Budget, imgsz: int) -> int:
        """How much of the row has to go, to come nearest to the budget."""
        gone = _Gone(self, net, row, budget, imgsz)
        if gone.share(len(row)) < budget.target - 0.005:
            raise GraphError(
                f"schedule.target={budget.target:g} is out of reach: at most {gone.share(len(row)):.3f} of the "
                f"{budget.unit} can go; allow more with scope.max_ratio, scope.head or a smaller scope.round_to"
            )
        low, high = 0, len(row)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if gone.share(middle) < budget.target else (low, middle)
        return min((low, high), key=lambda count: abs(gone.share(count) - budget.target))


@dataclass
class _Gone:
    """Share of the unpruned net that is gone when so many portions of the row are, each counted once."""

    pruner: ChannelPruner
    net: nn.Module
    row: list[Portion]
    budget: Budget
    imgsz: int

    def __post_init__(self) -> None:
        self._known: dict[int, float] = {}

    def share(self, count: int) -> float:
        if count not in self._known:
            counter = self._channels if self.budget.unit == "channels" else self._macs
            self._known[count] = counter(self.row[:count])
        return self._known[count]

    def _macs(self, portions: list[Portion]) -> float:
        return (
            1 - self.pruner.footprint(_without(self.net, portions, self.imgsz).net, self.imgsz).macs / self.budget.macs
        )

    def _channels(self, portions: list[Portion]) -> float:
        left = sum(_now(self.net, name) for name in self.budget.widths)
        return 1 - (left - sum(len(p.channels) for p in portions)) / sum(self.budget.widths.values())


def _groups(
    net: nn.Module, fixed: Sequence[nn.Module], imgsz: int, covariances: Mapping[str, Tensor] | None = None
) -> list[Group]:
    names = {module: name for name, module in net.named_modules()}
    ignored = [module for layer in fixed for module in layer.modules()]
    macs = _macs_a_weight(net, imgsz)
    return [
        Group(names[native[0].dep.target.module], native, names, _macs_a_channel(native, macs), covariances or {})
        for native in _graph(net, imgsz).get_all_groups(ignored_layers=ignored)
    ]


def _macs_a_weight(net: nn.Module, imgsz: int) -> dict[nn.Module, int]:
    """How often each convolution uses each of its weights: the positions of its map."""
    found: dict[nn.Module, int] = {}

    def count(layer: Convolution, inputs: tuple[Tensor, ...]) -> None:
        height, width = map_size(layer, inputs[0])
        found[layer] = height * width

    layers = [module for module in net.modules() if isinstance(module, Convolution)]
    with torch.no_grad(), hooked([layer.register_forward_pre_hook(count) for layer in layers]):
        net.eval()(_example(imgsz))
    return found


def _macs_a_channel(native: Any, macs: dict[nn.Module, int]) -> float:
    """MACs that go with one channel of the group, the others still there."""
    return sum(_macs_a_cut(item, macs) for item in native if item.dep.target.module in macs) / len(native[0].idxs)


def _macs_a_cut(item: Any, macs: dict[nn.Module, int]) -> float:
    """Those of all the channels that this member loses with the whole group."""
    layer = item.dep.target.module
    width = layer.in_channels if _cuts_inputs(item) else layer.out_channels
    return layer.weight.numel() * macs[layer] * len(item.idxs) / width


def _cuts_inputs(item: Any) -> bool:
    """Whether this member of a group is a convolution's input channels."""
    return isinstance(item.dep.target.module, Convolution) and item.dep.handler.__name__ == "prune_in_channels"


def _cuts_outputs(item: Any) -> bool:
    return isinstance(item.dep.target.module, Convolution) and item.dep.handler.__name__ == "prune_out_channels"


def _graph(net: nn.Module, imgsz: int) -> tp.DependencyGraph:
    for parameter in net.parameters():
        parameter.requires_grad = True  # the graph is read off autograd's
    return tp.DependencyGraph().build_dependency(net.eval(), example_inputs=_example(imgsz))


def _example(imgsz: int) -> Tensor:
    return torch.zeros(1, 3, imgsz, imgsz)


def _row(groups: Iterable[Group], importance: Importance, scope: Scope, widths: dict[str, int]) -> list[Portion]:
    portions = [p for group in groups for p in _portions(group, importance, scope, widths[group.name])]
    return sorted(portions, key=lambda portion: portion.rank)


def _portions(group: Group, importance: Importance, scope: Scope, original: int) -> list[Portion]:
    """A group's portions, least important first, down to the width that has to stay; ranks rise."""
    scores = _finite(importance.score(group), group) / (group.macs if scope.per_mac else 1)
    order, left, latest, portions = scores.argsort().tolist(), group.channels, -math.inf, []
    smallest = max(scope.round_to, math.ceil(original * (1 - scope.max_ratio)))
    while left - (size := left % scope.round_to or scope.round_to) >= smallest:
        taken = tuple(order[group.channels - left : group.channels - left + size])
        latest = max(latest, float(scores[list(taken)].mean()))
        share = 1 - (left - size / 2) / original  # half the portion: the width nearest to an even cut
        portions.append(Portion(group.name, taken, (share, latest) if scope.kind == "local" else (latest, share)))
        left -= size
    return portions


def _finite(scores: Tensor | None, group: Group) -> Tensor:
    """A group that the criterion says nothing about (no gradient reached it) is as good as any, not worthless."""
    if scores is None or not torch.isfinite(scores).all() or not scores.any():
        return torch.ones(group.channels)
    return scores.detach().float()


def _without(net: nn.Module, portions: Iterable[Portion], imgsz: int) -> Pruned:
    """A copy of the net without these channels."""
    smaller = copy.deepcopy(net)
    graph, modules = _graph(smaller, imgsz), dict(smaller.named_modules())
    gone: dict[nn.Module, set[int]] = {}
    for name, channels in _by_group(portions).items():
        layer = modules[name]
        cut = graph.get_pruner_of_module(layer).prune_out_channels
        group = graph.get_pruning_group(layer, cut, sorted(channels))
        for item in filter(_cuts_outputs, group):
            gone.setdefault(item.dep.target.module, set()).update(item.idxs)
        group.prune()
    return Pruned(smaller, _kept(net, {name: gone.get(module, set()) for name, module in modules.items()}))


def _kept(net: nn.Module, gone: Mapping[str, set[int]]) -> dict[str, list[int]]:
    layers = ((name, module) for name, module in net.named_modules() if isinstance(module, Convolution))
    return {name: [c for c in range(layer.out_channels) if c not in gone[name]] for name, layer in layers}


def _by_group(portions: Iterable[Portion]) -> dict[str, list[int]]:
    merged: dict[str, list[int]] = {}
    for portion in portions:
        merged.setdefault(portion.group, []).extend(portion.channels)
    return merged


def _now(net: nn.Module, name: str) -> int:
    layer: Any = net.get_submodule(name)
    return int(layer.out_channels)
