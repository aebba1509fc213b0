"""C2f, C3k2 and C2PSA blocks as a row of stock layers, so that their channels can be pruned one by one.

They chunk one convolution's output in two, which a dependency graph cannot follow (torch-pruning fails on it). Here
the same arithmetic is spelled out in the net's own graph: two Conv halves, what lies between, a Concat and a Conv. The
outputs stay equal to the bit, and a checkpoint holds nothing but classes that plain Ultralytics knows.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from ultralytics.nn.modules import C2PSA, C2f, C3k2, Concat, Conv
from ultralytics.nn.tasks import BaseModel

HALVING = (C2f, C3k2, C2PSA)
"""Blocks that chunk; their subclasses may do something else."""


def unroll(net: BaseModel) -> BaseModel:
    """Replaces, in place, every halving block by its parts; does nothing to a net that has none."""
    layers = _Layers()
    for index, layer in enumerate(list(net.model)):
        inputs = layers.renumbered(layer.f, index)
        last = _spell_out(layer, inputs, layers) if type(layer) in HALVING else layers.add(layer, inputs)
        layers.moved[index] = last
    net.model = nn.Sequential(*layers.all)
    net.save = sorted({f for layer in net.model for f in _as_list(layer.f) if f != -1})
    return net


class _Layers:
    """The new row of layers, and where each old one went."""

    def __init__(self) -> None:
        self.all: list[nn.Module] = []
        self.moved: dict[int, int] = {}

    def add(self, layer: nn.Module, inputs: int | list[int]) -> int:
        layer.f, layer.i = inputs, len(self.all)
        layer.type = f"{type(layer).__module__}.{type(layer).__name__}"
        layer.np = sum(p.numel() for p in layer.parameters())
        self.all.append(layer)
        return layer.i

    def renumbered(self, inputs: int | list[int], index: int) -> int | list[int]:
        if isinstance(inputs, int):
            return self._now(inputs, index)
        return [self._now(i, index) for i in inputs]

    def _now(self, source: int, index: int) -> int:
        if source < 0:
            return self.moved[index + source] if index else source
        return self.moved[source]


def _spell_out(block: C2f | C2PSA, source: int | list[int], layers: _Layers) -> int:
    first, *row = (layers.add(half, source) for half in _halves(block.cv1))
    for part in block.m:
        row.append(layers.add(part, row[-1]))
    joined = row if isinstance(block, C2f) else row[-1:]  # a C2PSA passes on the end of the row only
    return layers.add(block.cv2, layers.add(Concat(1), [first, *joined]))


def _halves(conv: Conv) -> list[Conv]:
    middle = conv.conv.out_channels // 2
    return [_part(conv, slice(0, middle)), _part(conv, slice(middle, None))]


def _part(conv: Conv, channels: slice) -> Conv:
    """The same Conv with some of its output channels only."""
    part = copy.deepcopy(conv)
    part.conv.weight = nn.Parameter(part.conv.weight.detach()[channels].clone())
    part.conv.out_channels = part.bn.num_features = len(part.conv.weight)
    part.bn.weight = nn.Parameter(part.bn.weight.detach()[channels].clone())
    part.bn.bias = nn.Parameter(part.bn.bias.detach()[channels].clone())
    part.bn.running_mean = _slice(part.bn.running_mean, channels)
    part.bn.running_var = _slice(part.bn.running_var, channels)
    return part


def _slice(values: torch.Tensor, channels: slice) -> torch.Tensor:
    return values[channels].clone()


def sources(layer: Any) -> list[int]:
    """Indices of the layers that it reads; -1 is the picture."""
    return [layer.i - 1 if source == -1 else source for source in _as_list(layer.f)]


def _as_list(inputs: int | list[int]) -> list[int]:
    return [inputs] if isinstance(inputs, int) else inputs
