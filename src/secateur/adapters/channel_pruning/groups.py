"""Channels that hang together: where one goes, it goes from every layer of its group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn

from secateur.convolutions import Convolution, Moments, Positions, hooked, input_moments, map_size, matrix, taps
from secateur.errors import GraphError
from secateur.ports import Reader

POSITIONS = 200
"""Looked at in each map of each picture, for what a layer reads."""
STEEPNESS = 2**4
"""How many times as hard as a group's strongest channel its weakest is shrunk (Fang et al. 2023: 2^α with α = 4)."""
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
        return [self._filters(item) for item in self.native if cuts_outputs(item)]

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


def groups_of(
    net: nn.Module, fixed: Sequence[nn.Module], imgsz: int, moments: Mapping[str, Moments] | None = None
) -> list[Group]:
    """In the net's order; raises GraphError where there is none."""
    names = {module: name for name, module in net.named_modules()}
    ignored = [module for layer in fixed for module in layer.modules()]
    macs, place = _macs_a_weight(net, imgsz), {name: number for number, name in enumerate(names.values())}
    found = [
        Group(names[native[0].dep.target.module], native, names, _macs_a_channel(native, macs), moments or {})
        for native in graph_of(net).get_all_groups(ignored_layers=ignored)
    ]
    if not found:
        raise GraphError(
            "the net has no group of channels that may be pruned; allow some with scope.keep or scope.head"
        )
    return sorted(found, key=lambda group: place[group.name])


def graph_of(net: nn.Module) -> tp.DependencyGraph:
    """Which layers' channels hang together; the net is in `eval` from then on, and all of it learns."""
    for parameter in net.parameters():
        parameter.requires_grad = True  # the graph is read off autograd's
    return tp.DependencyGraph().build_dependency(net.eval(), example_inputs=example(TRACED))


def seen(net: nn.Module, pictures: Tensor | None) -> Mapping[str, Moments]:
    """What each layer reads when the pictures go through the net."""
    return {} if pictures is None else input_moments(net, pictures, Positions(POSITIONS, seed=0))


def _macs_a_weight(net: nn.Module, imgsz: int) -> dict[nn.Module, int]:
    """How often each convolution uses each of its weights: the positions of its map."""
    found: dict[nn.Module, int] = {}

    def count(layer: Convolution, inputs: tuple[Tensor, ...]) -> None:
        height, width = map_size(layer, inputs[0])
        found[layer] = height * width

    layers = [module for module in net.modules() if isinstance(module, Convolution)]
    with torch.no_grad(), hooked([layer.register_forward_pre_hook(count) for layer in layers]):
        net.eval()(example(imgsz))
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


def cuts_outputs(item: Any) -> bool:
    """Whether this member of a group is a convolution's output channels."""
    return isinstance(item.dep.target.module, Convolution) and item.dep.handler.__name__ == "prune_out_channels"


def _axis(item: Any) -> int | None:
    """Along which a weight of this member of a group holds the group's channels."""
    layer = item.dep.target.module
    if isinstance(layer, nn.BatchNorm2d):
        return 0
    transposed = isinstance(layer, nn.ConvTranspose2d)
    if cuts_outputs(item):
        return int(transposed)
    return int(not transposed) if _cuts_inputs(item) and layer.groups == 1 else None


def _pull(weight: nn.Parameter, axis: int, channels: Sequence[int], pulls: Tensor) -> None:
    """Adds `pulls` (channels,), times these channels' weights, to their gradient."""
    assert weight.grad is not None
    where = torch.tensor(channels, device=weight.device)
    shape = [-1 if dim == axis else 1 for dim in range(weight.dim())]
    weight.grad.index_add_(axis, where, weight.index_select(axis, where) * pulls.view(shape))


def example(imgsz: int) -> Tensor:
    """(1, 3, imgsz, imgsz); what a net is traced and counted with."""
    return torch.zeros(1, 3, imgsz, imgsz)
