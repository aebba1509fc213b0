"""Where a training stands after an epoch, on disk: one that was killed goes on from there.

Everything that the rest depends on is kept in full precision: weights, running average, optimizer, schedule, early
stop and the random numbers of augmentation; the order of the pictures follows from the seed. On the CPU a broken
training therefore ends where an unbroken one does, to the bit. Two things are not kept: what loader processes
(`workers` on a GPU) have drawn ahead, and the pictures that mosaic has at hand; there the rest sees others.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DistributedSampler
from ultralytics.utils import RANK
from ultralytics.utils.torch_utils import unwrap_model

STATE = "unfinished.pt"


def randomness() -> tuple[Any, ...]:
    """Of this process: where its random numbers stand."""
    return random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002  # Ultralytics'


def keep(trainer: Any, randoms: list[tuple[Any, ...]], folder: Path) -> None:
    """Writes `folder/unfinished.pt`, whole or not at all; `randoms` are those of each process."""
    state = {
        "epoch": trainer.epoch,
        "net": unwrap_model(trainer.model).state_dict(),
        "average": trainer.ema.ema.state_dict(),
        "updates": trainer.ema.updates,
        "optimizer": trainer.optimizer.state_dict(),
        "schedule": trainer.scheduler.last_epoch,
        "scaler": trainer.scaler.state_dict(),
        "curve": trainer.curve,
        "best": (trainer.best_fitness, vars(trainer.stopper)),
        "randoms": randoms,
    }
    torch.save(state, folder / f"{STATE}.part")
    (folder / f"{STATE}.part").rename(folder / STATE)


def take_up(trainer: Any, folder: Path) -> None:
    """Changes a trainer that is about to begin; does nothing where there is no state."""
    if not (folder / STATE).is_file():
        return
    state = torch.load(folder / STATE, map_location=trainer.device, weights_only=False)  # written by `keep`
    unwrap_model(trainer.model).load_state_dict(state["net"])
    trainer.ema.ema.load_state_dict(state["average"])
    trainer.ema.updates = state["updates"]
    trainer.optimizer.load_state_dict(state["optimizer"])
    trainer.scaler.load_state_dict(state["scaler"])
    trainer.best_fitness, stopper = state["best"]
    vars(trainer.stopper).update(stopper)
    trainer.curve = state["curve"]
    trainer.start_epoch = state["epoch"] + 1
    trainer.scheduler.last_epoch = state["schedule"]
    _move_on(unwrap_model(trainer.model), trainer.start_epoch)
    _skip(trainer.train_loader, trainer.start_epoch)
    for own in state["randoms"][max(RANK, 0) :][:1]:  # none where there were fewer processes
        _set_random(*own)


def _move_on(net: Any, epochs: int) -> None:
    """A YOLO26's criterion shifts from one branch of its head to the other, epoch by epoch."""
    if getattr(net, "criterion", None) is None:  # a net that was just built has not even the name
        net.criterion = net.init_criterion()
    for _ in range(epochs if hasattr(net.criterion, "update") else 0):
        net.criterion.update()


def _skip(loader: Any, epochs: int) -> None:
    """Draws the order of the pictures of so many epochs, without opening one; processes that train together draw each
    epoch's anew."""
    if loader.num_workers == 0 and not isinstance(loader.sampler, DistributedSampler):
        loader.iterator = loader._get_iterator()
        for _ in range(epochs * len(loader)):
            loader.iterator._next_index()


def _set_random(plain: Any, numpy: Any, tensors: torch.Tensor) -> None:
    random.setstate(plain)
    np.random.set_state(numpy)  # noqa: NPY002
    torch.set_rng_state(tensors.cpu())
