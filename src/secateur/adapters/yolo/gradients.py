"""Gradients of the training loss, for criteria that look at them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from ultralytics.nn.tasks import BaseModel

from secateur.adapters.yolo.trainers import trainer_of
from secateur.convolutions import hooked
from secateur.ports import Progress

PLAIN: dict[str, Any] = {"epochs": 1, "mosaic": 0.0, "hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0, "degrees": 0.0,
                         "translate": 0.0, "scale": 0.0, "fliplr": 0.0, "close_mosaic": 0}  # fmt: skip
"""Pictures as they are: no augmentation."""


def accumulate_gradients(
    net: BaseModel, data: Path, imgsz: int, batches: int, batch: int, seed: int, device: str, progress: Progress
) -> None:
    """Adds up the gradients of the training loss over so many batches, BatchNorm statistics left alone."""
    with tempfile.TemporaryDirectory(prefix="secateur-gradients-") as scratch:
        trainer = trainer_of(net, data, PLAIN | {"batch": batch}, imgsz, seed, device, 0, Path(scratch))
        trainer._setup_train()
        net.eval()
        for done, pictures in zip(range(1, batches + 1), _endless(trainer.train_loader), strict=False):
            loss, _ = net(trainer.preprocess_batch(pictures))
            loss.sum().backward()
            progress(done, batches)
    net.cpu()


def accumulate_squared_gradients(
    net: BaseModel, data: Path, imgsz: int, images: int, seed: int, device: str, progress: Progress
) -> None:
    """Leaves the mean over single pictures of the squared gradients in each parameter's `grad`."""
    net.zero_grad()
    net.requires_grad_()
    with hooked([parameter.register_hook(torch.square) for parameter in net.parameters()]):
        accumulate_gradients(net, data, imgsz, images, 1, seed, device, progress)
    for parameter in net.parameters():
        if parameter.grad is not None:
            parameter.grad /= images


def _endless(loader: Any) -> Any:
    while True:
        yield from loader
