"""A forward pass of many pictures at once, for those who look at what goes on inside."""

from __future__ import annotations

from torch import Tensor
from ultralytics.nn.tasks import BaseModel

from secateur.adapters.yolo.unroll import sources


def flow(net: BaseModel, pictures: Tensor) -> None:
    """In eval mode, without outputs: each map goes when its last reader has run, and the head does not decode."""
    net.eval()
    maps, last_reader = {-1: pictures}, {source: layer.i for layer in net.model for source in sources(layer)}
    net.model[-1].training = True  # of the head alone, not of what is inside: it then returns its raw predictions
    try:
        for layer in net.model:
            inputs = [maps[source] for source in sources(layer)]
            maps[layer.i] = layer(inputs[0] if isinstance(layer.f, int) else inputs)
            maps = {index: found for index, found in maps.items() if last_reader.get(index, -1) > layer.i}
    finally:
        net.eval()
