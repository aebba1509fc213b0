"""Which parts of a pruned net still give what the unpruned one gives: they need no training, and only lose by it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn
from ultralytics.nn.modules import Detect, Proto
from ultralytics.nn.tasks import BaseModel

from secateur.adapters.yolo.fixed import BRANCHES
from secateur.adapters.yolo.unroll import sources


def untouched(net: BaseModel, unpruned: BaseModel) -> list[str]:
    """Paths of the layers, and of the head's branches, that lost no channel and read none but such; both nets are
    unrolled."""
    shapes = {name: values.shape for name, values in unpruned.named_parameters()}
    touched: set[int] = set()
    found = []
    for index, path, part, reads in _parts(net):
        if touched & set(reads) or any(p.shape != shapes[f"{path}.{name}"] for name, p in part.named_parameters()):
            touched.add(index)
        else:
            found.append(path)
    return found


def _parts(net: BaseModel) -> Iterator[tuple[int, str, nn.Module, list[int]]]:
    """Each layer, or branch of the head: its number, its path, itself, the numbers of the layers that it reads."""
    for layer in net.model:
        if isinstance(layer, Detect):
            yield from _branches(layer, sources(layer))
        else:
            yield layer.i, f"model.{layer.i}", layer, sources(layer)


def _branches(head: Any, maps: list[int]) -> Iterator[tuple[int, str, nn.Module, list[int]]]:
    path = f"model.{head.i}"
    for name in BRANCHES:
        for place, branch in enumerate(getattr(head, name, None) or ()):
            yield head.i, f"{path}.{name}.{place}", branch, [maps[place]]
    if hasattr(head, "proto"):
        yield head.i, f"{path}.proto", head.proto, maps[:1] if type(head.proto) is Proto else maps
