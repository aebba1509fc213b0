"""Processes that train one net together, as seen by one of them."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed, nn
from ultralytics.utils import RANK

PORT = "MASTER_PORT"
PATIENCE = timedelta(hours=3)  # the first one alone reads the labels of a large data set

T = TypeVar("T")


def leads() -> bool:
    """Whether this process tells and keeps what all have done; one that trains alone does."""
    return RANK < 1


def join(device: torch.device, count: int) -> None:
    """Meets the others at the store that the process which started them holds."""
    if device.type == "cpu":
        nn.parallel.DistributedDataParallel = _OnCpu
    store = distributed.TCPStore("127.0.0.1", int(os.environ[PORT]), is_master=False, timeout=PATIENCE)
    backend = "gloo" if device.type == "cpu" else "nccl"
    distributed.init_process_group(backend, store=store, rank=RANK, world_size=count, timeout=PATIENCE)


def gathered(own: T) -> list[T]:
    """What each process has, by rank."""
    if not distributed.is_initialized():
        return [own]
    found: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(found, own)
    return found


class _OnCpu(nn.parallel.DistributedDataParallel):
    """Ultralytics names the index of a GPU, which a CPU has not."""

    def __init__(self, module: nn.Module, device_ids: list[None], **settings: Any) -> None:
        super().__init__(module, **settings)
