"""A net without some of its channels."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

from torch import nn

from secateur.adapters.channel_pruning.groups import cuts_outputs, graph_of
from secateur.adapters.channel_pruning.row import Portion, by_group
from secateur.convolutions import Convolution


def without(net: nn.Module, portions: Iterable[Portion]) -> tuple[nn.Module, dict[str, list[int]]]:
    """A copy of the net without these channels, and those that each layer still has."""
    smaller = copy.deepcopy(net)
    graph, modules = graph_of(smaller), dict(smaller.named_modules())
    gone: dict[nn.Module, set[int]] = {}
    for name, channels in by_group(portions).items():
        layer = modules[name]
        cut = graph.get_pruner_of_module(layer).prune_out_channels
        group = graph.get_pruning_group(layer, cut, sorted(channels))
        for item in filter(cuts_outputs, group):
            gone.setdefault(item.dep.target.module, set()).update(item.idxs)
        group.prune()
    return smaller, kept(net, {name: gone.get(module, set()) for name, module in modules.items()})


def kept(net: nn.Module, gone: Mapping[str, set[int]]) -> dict[str, list[int]]:
    """The channels that each convolution still has, without those of `gone`."""
    layers = ((name, module) for name, module in net.named_modules() if isinstance(module, Convolution))
    return {name: [c for c in range(layer.out_channels) if c not in gone[name]] for name, layer in layers}
