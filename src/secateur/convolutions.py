"""Convolutions as matrices: what they read and what they give, at some positions of their maps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Convolution = nn.Conv2d | nn.ConvTranspose2d
BATCH = 16


def convolutions(net: nn.Module) -> dict[str, Convolution]:
    """Those whose weights can be solved for: not the DFL's, which are fixed, nor grouped or overlapping ones."""
    named = net.named_modules()
    return {
        name: m for name, m in named if isinstance(m, Convolution) and _is_plain(m) and not name.endswith("dfl.conv")
    }


def _is_plain(layer: Convolution) -> bool:
    if isinstance(layer, nn.ConvTranspose2d):
        return layer.groups == 1 and layer.stride == layer.kernel_size and layer.padding == (0, 0)
    return layer.groups == 1 and layer.dilation == (1, 1)


@dataclass
class Positions:
    """Which positions are looked at: the same wherever maps are of one size; drawn once, from the seed."""

    count: int
    seed: int
    _drawn: dict[tuple[int, int, int], Tensor] = field(default_factory=dict)

    def of(self, start: int, pictures: int, height: int, width: int) -> Tensor:
        """(pictures, count); flat indices into the maps of the pictures from `start` on."""
        key = (start, height, width)
        if key not in self._drawn:
            generator = torch.Generator().manual_seed(int.from_bytes(repr((self.seed, *key)).encode()) % 2**63)
            noise = torch.rand(pictures, height * width, generator=generator)
            self._drawn[key] = noise.argsort(dim=1)[:, : self.count]
        return self._drawn[key]


def taps(layer: Convolution) -> int:
    """Inputs of the matrix that belong to one channel."""
    return 1 if isinstance(layer, nn.ConvTranspose2d) else layer.kernel_size[0] * layer.kernel_size[1]


def matrix(layer: Convolution) -> Tensor:
    """(inputs, outputs); inputs are channels, each with its taps; those of a transposed one each give a patch."""
    if isinstance(layer, nn.ConvTranspose2d):
        return layer.weight.detach().flatten(1)
    return layer.weight.detach().flatten(1).T


def set_matrix(layer: Convolution, values: Tensor) -> None:
    """Changes the layer in place."""
    flat = values if isinstance(layer, nn.ConvTranspose2d) else values.T
    layer.weight.data.copy_(flat.reshape(layer.weight.shape))


def map_size(layer: Convolution, x: Tensor) -> tuple[int, int]:
    """Height and width of the map whose positions count: the output's, of a transposed one the input's."""
    height, width = x.shape[2:]
    if isinstance(layer, nn.ConvTranspose2d):
        return height, width
    (top, left), (up, across), (tall, wide) = map(int, layer.padding), layer.stride, layer.kernel_size
    return (height + 2 * top - tall) // up + 1, (width + 2 * left - wide) // across + 1


def reads(layer: Convolution, x: Tensor, positions: Tensor) -> Tensor:
    """(samples, inputs); what the layer multiplies its matrix with."""
    if isinstance(layer, nn.ConvTranspose2d) or (taps(layer) == 1 and layer.stride == (1, 1)):
        return _at(x, positions)
    tall, wide = map(int, layer.padding)
    padded = functional.pad(x, (wide, wide, tall, tall))
    width, across = padded.shape[3], map_size(layer, x)[1]
    corner = positions // across * layer.stride[0] * width + positions % across * layer.stride[1]
    window = torch.arange(layer.kernel_size[0])[:, None] * width + torch.arange(layer.kernel_size[1])
    pixels = (corner[:, :, None] + window.flatten()).flatten(1)
    found = padded.flatten(2).gather(2, pixels[:, None].expand(-1, x.shape[1], -1))
    windows = found.view(len(x), x.shape[1], -1, window.numel())  # (n, channels, positions, taps)
    return windows.transpose(1, 2).flatten(2).flatten(0, 1)


def gives(layer: Convolution, output: Tensor, positions: Tensor, channels: Tensor) -> Tensor:
    """(samples, outputs); the layer's output on these channels."""
    output = output[:, channels]
    if isinstance(layer, nn.ConvTranspose2d):
        tall, wide = layer.kernel_size
        pictures, count, height, width = output.shape
        blocks = output.view(pictures, count, height // tall, tall, width // wide, wide)
        output = blocks.permute(0, 1, 3, 5, 2, 4).flatten(1, 3)
    return _at(output, positions)


def _at(maps: Tensor, positions: Tensor) -> Tensor:
    found = maps.flatten(2).gather(2, positions[:, None].expand(-1, maps.shape[1], -1))
    return found.transpose(1, 2).flatten(0, 1)


@contextmanager
def hooked(handles: list[Any]) -> Iterator[None]:
    """Takes the hooks off again."""
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class Moments:
    """Sums over samples that come in portions: enough for means, covariances and least squares."""

    def __init__(self) -> None:
        self.samples = 0
        self.sum_x = self.sum_y = self.gram = self.cross = torch.zeros(())

    def add(self, x: Tensor, y: Tensor | None = None) -> None:
        """`x` (samples, inputs), `y` (samples, outputs)."""
        self.samples += len(x)
        self.sum_x, self.gram = self.sum_x + x.sum(0), self.gram + x.T @ x
        if y is not None:
            self.sum_y, self.cross = self.sum_y + y.sum(0), self.cross + x.T @ y

    @property
    def mean_x(self) -> Tensor:
        """(inputs,)."""
        return self.sum_x / self.samples

    @property
    def mean_y(self) -> Tensor:
        """(outputs,)."""
        return self.sum_y / self.samples

    def covariance(self) -> Tensor:
        """(inputs, inputs)."""
        return self.gram / self.samples - torch.outer(self.mean_x, self.mean_x)

    def cross_covariance(self) -> Tensor:
        """(inputs, outputs)."""
        return self.cross / self.samples - torch.outer(self.mean_x, self.mean_y)


def input_moments(net: nn.Module, pictures: Tensor, positions: Positions) -> dict[str, Moments]:
    """Of each convolution, over what it reads when these pictures go through the net."""
    moments = {name: Moments() for name in convolutions(net)}
    start = 0

    def watch(name: str) -> Any:
        def add(layer: Any, inputs: tuple[Tensor, ...]) -> None:
            x = inputs[0]
            moments[name].add(reads(layer, x, positions.of(start, len(x), *map_size(layer, x))))

        return add

    layers = convolutions(net)
    with torch.no_grad(), hooked([layer.register_forward_pre_hook(watch(name)) for name, layer in layers.items()]):
        for start in range(0, len(pictures), BATCH):
            net.eval()(pictures[start : start + BATCH])
    return moments
