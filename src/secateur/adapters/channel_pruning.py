"""THE door to torch_pruning: which channels hang together, which go first, and how many until the budget is met.

Channels are taken in portions of `round_to`, group by group, least important first. All portions of all groups stand
in one row, in the order that the scope says; pruning takes the front of that row, and bisection finds how much of it.
What a net would count without them is added up layer by layer, and counted on the net itself only in the end.
"""

from __future__ import annotations

import collections
import copy
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn

from secateur.convolutions import Convolution, Moments, Positions, hooked, input_moments, map_size, matrix, taps
from secateur.errors import GraphError
from secateur.ports import Budget, Importance, Pruned, Reader
from secateur.results import Footprint, Sensitivity
from secateur.specs import Scope

POSITIONS = 200
"""Looked at in each map of each picture, for what a layer reads."""
NEAR = 0.005
"""Of a budget: no less may be asked of channels that go in portions."""
TRUSTED = 0.0005
"""Of the unpruned net: what is added up layer by layer is believed where it is that near to what is counted."""
STEEPNESS = 2**4
"""How many times as hard as a group's strongest channel its weakest is shrunk (Fang et al. 2023: 2^α with α = 4)."""
ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU)
"""What the counter takes for an operation an element, where it counts none for SiLU and Hardswish."""
TRACED = 64
"""px; what hangs together is the same at every size, and read off fastest from a small picture."""


@dataclass(frozen=True)
class Group:
    """`ports.GroupView` over a torch_pruning group, which is named by its first layer.

    `macs` are those that go with one of its channels; `moments` are of what each layer reads.
    """

    name: str
    native: Any
    names: Mapping[nn.Module, str]
    macs: float
    moments: Mapping[str, Moments]

    @property
    def channels(self) -> int:
        return len(self.native[0].idxs)

    def torch_pruning(self, criterion: str, **options: Any) -> Tensor:
        scores = getattr(tp.importance, criterion)(**options)(self.native)
        return torch.zeros(self.channels) if scores is None else scores

    def filters(self) -> list[Tensor]:
        return [self._filters(item) for item in self.native if _cuts_outputs(item)]

    def _filters(self, item: Any) -> Tensor:
        layer = item.dep.target.module
        weights = layer.weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else layer.weight
        return weights.detach()[torch.tensor(item.idxs)[torch.tensor(item.root_idxs).argsort()]].flatten(1)

    def norms(self) -> Tensor:
        """(channels,), of all convolution and BatchNorm weights that go with a channel: L2, over √(layers)."""
        return self.torch_pruning("GroupMagnitudeImportance", p=2, normalizer=None).sqrt()

    def shrink(self, strength: float) -> None:
        """Adds γ · `strength` · w to the gradient of each weight w that goes with a channel: γ is 1 for the channel of
        the largest norm, STEEPNESS for that of the smallest."""
        norms = self.norms()
        spread = (norms.max() - norms.min()).clamp(min=torch.finfo(norms.dtype).tiny)
        pulls = strength * STEEPNESS ** ((norms.max() - norms) / spread)
        for item in self.native:
            axis, weight = _axis(item), getattr(item.dep.target.module, "weight", None)
            if axis is not None and weight is not None and weight.grad is not None:
                _pull(weight, axis, item.idxs, pulls[item.root_idxs])

    def readers(self) -> list[Reader]:
        return [self._reader(item) for item in self.native if self._is_reader(item)]

    def _is_reader(self, item: Any) -> bool:
        return _cuts_inputs(item) and self.names[item.dep.target.module] in self.moments

    def _reader(self, item: Any) -> Reader:
        layer = item.dep.target.module
        copies = torch.tensor(item.idxs)[torch.tensor(item.root_idxs).argsort(stable=True)]
        first = copies.view(self.channels, -1, 1) * taps(layer)  # a concat may hold a channel several times
        rows = (first + torch.arange(taps(layer))).flatten(1)
        moments = self.moments[self.names[layer]]
        return Reader(matrix(layer), moments.mean_x, moments.covariance(), rows)


@dataclass(frozen=True)
class Portion:
    """Channels of one group that go together.

    `score` is never below that of what goes before them; `share` of the group's first width is gone halfway through.
    """

    group: str
    channels: tuple[int, ...]
    score: float
    share: float


class ChannelPruner:
    """`ports.ChannelPruner` by torch_pruning's dependency graph."""

    def footprint(self, net: nn.Module, imgsz: int) -> Footprint:
        _, params, macs, _ = _counted(_as_shipped(net), imgsz)
        return Footprint(params=int(params), macs=sum(int(count) for _, count in _of_layers(macs)))

    def channels(self, net: nn.Module) -> dict[str, list[int]]:
        return _kept(net, collections.defaultdict(set))

    def widths(self, net: nn.Module, fixed: Sequence[nn.Module], imgsz: int) -> dict[str, int]:
        return {group.name: group.channels for group in _groups(net, fixed, imgsz)}

    def norms(self, net: nn.Module, fixed: Sequence[nn.Module]) -> list[Tensor]:
        return [group.norms() for group in _groups(net, fixed, TRACED)]

    def regularizer(self, net: nn.Module, fixed: Sequence[nn.Module], strength: float) -> Callable[[], None]:
        groups = _groups(net, fixed, TRACED)

        @torch.no_grad()
        def regularize() -> None:
            for group in groups:
                group.shrink(strength)

        return regularize

    def prune(
        self,
        net: nn.Module,
        fixed: Sequence[nn.Module],
        importance: Importance,
        scope: Scope,
        budget: Budget,
        imgsz: int,
        pictures: Tensor | None = None,
        sensitivity: Sensitivity | None = None,
    ) -> Pruned:
        """Takes the front of the one row of portions, as much of it as comes nearest to the budget; raises GraphError
        where all of it is not enough."""
        groups = _groups(net, fixed, imgsz, _seen(net, pictures))
        row = tuple(_row(groups, importance, scope, budget.widths, sensitivity))
        return _nearest(net, row, budget, self._ledger(net, groups, budget, imgsz))

    def _ledger(self, net: nn.Module, groups: Sequence[Group], budget: Budget, imgsz: int) -> Ledger | None:
        """None where nothing is counted: of a latency."""
        if budget.unit == "channels":
            modules = dict(net.named_modules())
            return Ledger(groups, {name: float(_width(modules[name], OUT)) for name in budget.widths}, (OUT,))
        if budget.unit not in ("macs", "params"):
            return None
        shipped = _as_shipped(net)
        _, _, macs, params = _counted(shipped, imgsz)
        names = {layer: name for name, layer in shipped.named_modules()}
        sizes = _of_layers(macs if budget.unit == "macs" else params)
        return Ledger(groups, {names[layer]: count for layer, count in sizes}, (IN, OUT))

    def narrowed(
        self,
        net: nn.Module,
        fixed: Sequence[nn.Module],
        importance: Importance,
        ratios: Sequence[float],
        imgsz: int,
        pictures: Tensor | None = None,
    ) -> Iterator[tuple[str, nn.Module]]:
        for group in _groups(net, fixed, imgsz, _seen(net, pictures)):
            order = _finite(importance.score(group), group).argsort().tolist()
            for ratio in ratios:
                least = tuple(order[: min(round(ratio * group.channels), group.channels - 1)])
                yield group.name, _without(net, [Portion(group.name, least, 0.0, ratio)])[0]


def _counted(net: nn.Module, imgsz: int) -> Any:
    """MACs and parameters of the net, then of each of its layers."""
    return tp.utils.count_ops_and_params(net.eval(), _example(imgsz), layer_wise=True)


def _of_layers(counts: Mapping[nn.Module, float | None]) -> Iterator[tuple[nn.Module, float]]:
    """Of each layer once, activations left out: no net is larger for another one."""
    for layer, count in counts.items():
        if count and not isinstance(layer, ACTIVATIONS) and not any(layer.children()):
            yield layer, count


def _as_shipped(net: nn.Module) -> nn.Module:
    """Of the two branches that a YOLO26 head trains, one ships."""
    if not hasattr(getattr(net, "model", [None])[-1], "one2one_cv2"):
        return net
    shipped: Any = copy.deepcopy(net)
    shipped.model[-1].fuse()
    return shipped


def _seen(net: nn.Module, pictures: Tensor | None) -> Mapping[str, Moments]:
    """What each layer reads when the pictures go through the net."""
    return {} if pictures is None else input_moments(net, pictures, Positions(POSITIONS, seed=0))


Gone = Callable[[tuple[Portion, ...]], float]
IN, OUT = "in", "out"


@dataclass(frozen=True)
class Cut:
    """Which share of a layer's own inputs or outputs goes with each channel of a group."""

    layer: str
    axis: str
    shares: Tensor  # (channels,), of the layer's width


class Ledger:
    """Which share of a net goes with some of its channels, added up layer by layer.

    `sizes` are what each layer has now, which falls with its width along each of the axes that count.
    """

    def __init__(self, groups: Sequence[Group], sizes: Mapping[str, float], axes: Sequence[str]) -> None:
        self.sizes, self.whole = sizes, sum(sizes.values())
        self.cuts = {group.name: [cut for cut in _cuts(group) if cut.axis in axes] for group in groups}

    def gone(self, portions: tuple[Portion, ...]) -> float:
        """The share of the net that goes with these."""
        left = {(layer, axis): 1.0 for layer in self.sizes for axis in (IN, OUT)}
        for group, channels in _by_group(portions).items():
            for cut in self.cuts[group]:
                if cut.layer in self.sizes:
                    left[cut.layer, cut.axis] -= float(cut.shares[channels].sum())
        return 1 - sum(size * left[layer, IN] * left[layer, OUT] for layer, size in self.sizes.items()) / self.whole


def _cuts(group: Group) -> Iterator[Cut]:
    for item in group.native:
        layer = item.dep.target.module
        if layer in group.names:
            axis = IN if item.dep.handler.__name__ == "prune_in_channels" else OUT
            copies = torch.bincount(torch.tensor(item.root_idxs), minlength=group.channels)
            yield Cut(group.names[layer], axis, copies / _width(layer, axis))


def _nearest(net: nn.Module, row: tuple[Portion, ...], budget: Budget, ledger: Ledger | None) -> Pruned:
    """Without as much of the row as comes nearest to the budget."""

    @functools.cache
    def gone(portions: tuple[Portion, ...]) -> float:
        return budget.gone(_without(net, portions)[0])

    _check_reach(row, budget, gone)
    for gauge in (_added_up(ledger, row, gone), gone) if ledger and ledger.gone(row) else (gone,):
        chosen = _chosen(row, budget, gauge)
        if abs(gone(chosen) - gauge(chosen)) <= TRUSTED:
            break
    smaller, kept = _without(net, chosen)
    return Pruned(smaller, gone(chosen), kept)


def _added_up(ledger: Ledger, row: tuple[Portion, ...], gone: Gone) -> Gone:
    """Of the unpruned net, so that it is what is counted with nothing and with all of the row gone."""
    least, most = gone(()), gone(row)
    scale = (most - least) / ledger.gone(row)
    return lambda portions: least + scale * ledger.gone(portions)


def _check_reach(row: tuple[Portion, ...], budget: Budget, gone: Gone) -> None:
    """Raises GraphError where all of the row is not enough."""
    if gone(row) < budget.target - max(budget.tolerance, NEAR):
        raise GraphError(
            f"{budget.target:g} of the {budget.unit} is out of reach: at most {max(gone(row), 0):.3f} can go; lower "
            "schedule.target, or allow more with scope.max_ratio, scope.head, scope.keep or a smaller scope.round_to"
        )


def _chosen(row: tuple[Portion, ...], budget: Budget, gone: Gone) -> tuple[Portion, ...]:
    """The front of the row, by interpolation and bisection in turns."""
    low, high, below, above = 0, len(row), max(gone(()), 0.0), gone(row)
    for turn in itertools.count():
        if high - low <= 1:
            break
        share = 0.5 if turn % 2 else (budget.target - below) / (above - below)
        middle = low + min(max(round(share * (high - low)), 1), high - low - 1)
        found = gone(row[:middle])
        if abs(found - budget.target) <= budget.tolerance:
            return row[:middle]
        if found < budget.target:
            low, below = middle, max(found, below)
        else:
            high, above = middle, found
    return min((_filled(row, low, budget, gone), row[:high]), key=lambda some: abs(gone(some) - budget.target))


def _filled(row: tuple[Portion, ...], count: int, budget: Budget, gone: Gone) -> tuple[Portion, ...]:
    """The front of the row and, since the portion at its edge may be large, those of the next few that still fit."""
    chosen, full = row[:count], set[str]()
    for portion in row[count : count + budget.fillers]:
        if portion.group in full or budget.target - gone(chosen) <= budget.tolerance:
            continue
        if gone((*chosen, portion)) <= budget.target + budget.tolerance:
            chosen = (*chosen, portion)
        else:
            full.add(portion.group)  # what comes later in a group does not go before what comes first
    return chosen


def _groups(
    net: nn.Module, fixed: Sequence[nn.Module], imgsz: int, moments: Mapping[str, Moments] | None = None
) -> list[Group]:
    """In the net's order; raises GraphError where there is none."""
    names = {module: name for name, module in net.named_modules()}
    ignored = [module for layer in fixed for module in layer.modules()]
    macs, place = _macs_a_weight(net, imgsz), {name: number for number, name in enumerate(names.values())}
    found = [
        Group(names[native[0].dep.target.module], native, names, _macs_a_channel(native, macs), moments or {})
        for native in _graph(net).get_all_groups(ignored_layers=ignored)
    ]
    if not found:
        raise GraphError(
            "the net has no group of channels that may be pruned; allow some with scope.keep or scope.head"
        )
    return sorted(found, key=lambda group: place[group.name])


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


def _width(layer: Any, axis: str) -> int:
    """Inputs or outputs; of a layer that has as many of both, as BatchNorm, those."""
    names = ("num_features", f"{axis}_channels", f"{axis}_features", "num_parameters")
    return int(next(getattr(layer, name) for name in names if hasattr(layer, name)))


def _axis(item: Any) -> int | None:
    """Along which a weight of this member of a group holds the group's channels."""
    layer = item.dep.target.module
    if isinstance(layer, nn.BatchNorm2d):
        return 0
    transposed = isinstance(layer, nn.ConvTranspose2d)
    if _cuts_outputs(item):
        return int(transposed)
    return int(not transposed) if _cuts_inputs(item) and layer.groups == 1 else None


def _pull(weight: nn.Parameter, axis: int, channels: Sequence[int], pulls: Tensor) -> None:
    """Adds `pulls` (channels,), times these channels' weights, to their gradient."""
    assert weight.grad is not None
    where = torch.tensor(channels, device=weight.device)
    shape = [-1 if dim == axis else 1 for dim in range(weight.dim())]
    weight.grad.index_add_(axis, where, weight.index_select(axis, where) * pulls.view(shape))


def _graph(net: nn.Module) -> tp.DependencyGraph:
    for parameter in net.parameters():
        parameter.requires_grad = True  # the graph is read off autograd's
    return tp.DependencyGraph().build_dependency(net.eval(), example_inputs=_example(TRACED))


def _example(imgsz: int) -> Tensor:
    return torch.zeros(1, 3, imgsz, imgsz)


def _row(
    groups: Sequence[Group],
    importance: Importance,
    scope: Scope,
    widths: Mapping[str, int],
    sensitivity: Sensitivity | None,
) -> list[Portion]:
    """All that may go, first what goes first."""
    portions = {group.name: _portions(group, importance, scope, widths[group.name]) for group in groups}
    if sensitivity is not None:
        row = itertools.chain.from_iterable(portions.values())
        return sorted(row, key=lambda p: (sensitivity.drop(p.group, p.share), p.share))
    arenas: dict[object, list[Group]] = {}
    for group in groups:
        arenas.setdefault(_arena(group, scope.kind), []).append(group)
    marched = [_march([p for group in arena for p in portions[group.name]], arena, widths) for arena in arenas.values()]
    return [portion for _, _, portion in sorted(itertools.chain(*marched), key=lambda step: step[:2])]


def _arena(group: Group, kind: str) -> object:
    """Groups of one arena compete; each arena gives the same share of its channels (isomorphic: Fang et al. 2024)."""
    if kind == "isomorphic":
        return tuple(sorted((type(i.dep.target.module).__name__, i.dep.handler.__name__) for i in group.native))
    return group.name if kind == "local" else None


def _march(
    portions: Iterable[Portion], arena: Iterable[Group], widths: Mapping[str, int]
) -> list[tuple[float, float, Portion]]:
    """An arena's portions in their order, each after the share of the arena that is gone halfway through it."""
    width = sum(widths[group.name] for group in arena)
    gone, steps = width - sum(group.channels for group in arena), []
    for portion in sorted(portions, key=lambda p: (p.score, p.share)):
        size = len(portion.channels)
        steps.append(((gone + size / 2) / width, portion.score, portion))
        gone += size
    return steps


def _portions(group: Group, importance: Importance, scope: Scope, original: int) -> list[Portion]:
    """A group's portions, least important first, down to the width that has to stay."""
    scores = _finite(importance.score(group), group) / (group.macs if scope.per_mac else 1)
    order, left, highest, portions = scores.argsort().tolist(), group.channels, -math.inf, []
    smallest = max(scope.round_to, original - math.floor(original * scope.max_ratio + 1e-9))
    while left - (size := left % scope.round_to or scope.round_to) >= smallest:
        taken = tuple(order[group.channels - left : group.channels - left + size])
        highest = max(highest, float(scores[list(taken)].mean()))
        portions.append(Portion(group.name, taken, highest, share=1 - (left - size / 2) / original))
        left -= size
    return portions


def _finite(scores: Tensor, group: Group) -> Tensor:
    """A group that the criterion says nothing about (no gradient reached it) is as good as any, not worthless."""
    if not torch.isfinite(scores).all() or not scores.any():
        return torch.ones(group.channels)
    return scores.detach().float()


def _without(net: nn.Module, portions: Iterable[Portion]) -> tuple[nn.Module, dict[str, list[int]]]:
    """A copy of the net without these channels, and those that each layer still has."""
    smaller = copy.deepcopy(net)
    graph, modules = _graph(smaller), dict(smaller.named_modules())
    gone: dict[nn.Module, set[int]] = {}
    for name, channels in _by_group(portions).items():
        layer = modules[name]
        cut = graph.get_pruner_of_module(layer).prune_out_channels
        group = graph.get_pruning_group(layer, cut, sorted(channels))
        for item in filter(_cuts_outputs, group):
            gone.setdefault(item.dep.target.module, set()).update(item.idxs)
        group.prune()
    return smaller, _kept(net, {name: gone.get(module, set()) for name, module in modules.items()})


def _kept(net: nn.Module, gone: Mapping[str, set[int]]) -> dict[str, list[int]]:
    layers = ((name, module) for name, module in net.named_modules() if isinstance(module, Convolution))
    return {name: [c for c in range(layer.out_channels) if c not in gone[name]] for name, layer in layers}


def _by_group(portions: Iterable[Portion]) -> dict[str, list[int]]:
    merged: dict[str, list[int]] = {}
    for portion in portions:
        merged.setdefault(portion.group, []).extend(portion.channels)
    return merged
