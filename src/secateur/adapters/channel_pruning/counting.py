"""What a net counts, and what of it goes with some channels: added up layer by layer, so that nothing need be built."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn

from secateur.adapters.channel_pruning.groups import Group, example
from secateur.adapters.channel_pruning.row import Portion, by_group
from secateur.ports import Budget
from secateur.results import Footprint

ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU)
"""What the counter takes for an operation an element, where it counts none for SiLU and Hardswish."""
IN, OUT = "in", "out"
"""The axes along which a layer has channels."""


def footprint_of(net: nn.Module, imgsz: int) -> Footprint:
    """Of the net as it ships."""
    _, params, macs, _ = _counted(_as_shipped(net), imgsz)
    return Footprint(params=int(params), macs=sum(int(count) for _, count in _of_layers(macs)))


def ledger_of(net: nn.Module, groups: Sequence[Group], budget: Budget, imgsz: int) -> Ledger | None:
    """None where the budget counts nothing: of a latency."""
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


def _counted(net: nn.Module, imgsz: int) -> Any:
    """MACs and parameters of the net, then of each of its layers."""
    return tp.utils.count_ops_and_params(net.eval(), example(imgsz), layer_wise=True)


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
        for group, channels in by_group(portions).items():
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


def _width(layer: Any, axis: str) -> int:
    """Inputs or outputs; of a layer that has as many of both, as BatchNorm, those."""
    names = ("num_features", f"{axis}_channels", f"{axis}_features", "num_parameters")
    return int(next(getattr(layer, name) for name in names if hasattr(layer, name)))
