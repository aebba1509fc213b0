"""Ultralytics' trainers, made to keep the net they are given."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import nn
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.models.yolo.segment import SegmentationTrainer
from ultralytics.nn.tasks import BaseModel
from ultralytics.utils import RANK, WORLD_SIZE
from ultralytics.utils.torch_utils import ModelEMA, unwrap_model

from secateur.adapters.yolo import checkpoint, ranks, unfinished
from secateur.adapters.yolo.distillation import DenseCriterion, channels_read
from secateur.adapters.yolo.precision import autocast_name
from secateur.adapters.yolo.unroll import unroll
from secateur.adapters.yolo.untouched import untouched
from secateur.ports import Lesson
from secateur.results import Epoch
from secateur.specs import Training

QUIET: dict[str, Any] = {"plots": False, "verbose": False, "deterministic": True, "model": "secateur", "mode": "train"}
OURS = ("last_epochs", "precision", "freeze", "freeze_batchnorm", "ema_decay", "ema_tau")
"""Settings of a training that Ultralytics does not know."""


class _KeepsItsNet:
    """`Model.train()` rebuilds a net from its yaml, which undoes a prune; a trainer that already holds one does not."""

    training: Training | None = None
    lesson: Lesson | None = None
    regularize: Callable[[], None] | None = None
    curve: list[Epoch]
    freeze_layer_names: list[str]

    def _setup_ddp(self) -> None:
        ranks.join(self.device, self.world_size)

    def _setup_train(self) -> None:
        super()._setup_train()
        self.curve, self.batches_done = [], 0
        if self.amp:  # bf16 is a fifth faster so, on the CPU too
            self.model.to(memory_format=torch.channels_last)
        if self.lesson and self.lesson.unpruned:
            self._keep(untouched(unwrap_model(self.model), unroll(checkpoint.load(self.lesson.unpruned))))
        if self.training:
            self.ema = ModelEMA(self.model, self.training.ema_decay, self.training.ema_tau)
            unfinished.take_up(self, self.save_dir)
        if self.lesson and self.lesson.distillation.dense:  # after the average was made, which needs no teacher
            assert self.lesson.teacher
            net, teacher = unwrap_model(self.model), checkpoint.load(self.lesson.teacher).to(self.device)
            teacher.to(memory_format=torch.channels_last)
            channels = channels_read(net, teacher, self.lesson.kept)
            net.criterion = DenseCriterion(teacher, self.lesson.distillation, net.init_criterion(), channels)

    def _keep(self, paths: list[str]) -> None:
        """These layers do not learn; Ultralytics leaves the BatchNorm of those in its list alone too."""
        self.freeze_layer_names = [*self.freeze_layer_names, *(f"{path}." for path in paths)]
        for name, parameter in unwrap_model(self.model).named_parameters():
            if any(name.startswith(f"{path}.") for path in paths):
                parameter.requires_grad = False

    def _model_train(self) -> None:
        super()._model_train()
        self.batches_done, self.began = 0, time.monotonic()
        if self.training.freeze_batchnorm:
            _freeze_batchnorm(self.model)

    def optimizer_step(self) -> None:
        if self.regularize:
            self.regularize()
        super().optimizer_step()  # clips the gradients, of the loss and of the regularizer together

    def validate(self) -> tuple[dict[str, float], float | None]:
        return super().validate() if self.training.patience else ({}, None)

    def final_eval(self) -> None:
        """Left out: the evaluate stage scores."""


class _Segmentation(_KeepsItsNet, SegmentationTrainer):
    pass


class _Detection(_KeepsItsNet, DetectionTrainer):
    pass


def trainer_of(
    net: BaseModel,
    data: Path,
    overrides: dict[str, Any],
    imgsz: int,
    seed: int,
    device: str,
    workers: int,
    scratch: Path,
) -> Any:
    """A trainer that holds the net itself, all of whose parameters learn."""
    kind = _Segmentation if net.task == "segment" else _Detection
    where = {"data": str(data), "imgsz": imgsz, "seed": seed, "device": device, "workers": workers,
             "save_dir": str(scratch)}  # fmt: skip
    trainer = kind(overrides={**QUIET, "amp": False, **overrides, **where})
    if RANK != -1:
        trainer.world_size = WORLD_SIZE  # its device is one, that of this process
    trainer.model = net.train()
    for parameter in net.parameters():
        parameter.requires_grad = True
    return trainer


def overrides_of(training: Training, device: str) -> dict[str, Any]:
    """The settings under Ultralytics' names."""
    settings = {field.name: getattr(training, field.name) for field in fields(Training) if field.name not in OURS}
    settings["close_mosaic"] = min(training.close_mosaic, training.epochs)
    return settings | {
        "amp": autocast_name(training.precision, device),
        "nbs": training.batch,  # no accumulation: each batch is a step
        "warmup_bias_lr": 0.0,  # the default 0.1 throws a pretrained net's biases away
        "val": bool(training.patience),
        "save": bool(training.patience),
    }


def set_rate(trainer: Any) -> None:
    """Moves the rate along its schedule with each batch: few epochs would make few, coarse steps of it."""
    at = trainer.epoch + trainer.batches_done / len(trainer.train_loader)
    for group in trainer.optimizer.param_groups:
        group["lr"] = group["initial_lr"] * trainer.lf(at)
    trainer.batches_done += 1


def epoch_of(trainer: Any) -> Epoch:
    """What the epoch that just ended brought; losses are means over all processes."""
    told = ranks.gathered({name: float(value) for name, value in trainer.tloss.items()})
    return Epoch(
        epoch=trainer.epoch + 1,
        epochs=trainer.epochs,
        losses={name.removesuffix("_loss"): fmean(losses[name] for losses in told) for name in trainer.tloss},
        learning_rate=float(trainer.optimizer.param_groups[0]["lr"]),
        seconds=round(time.monotonic() - trainer.began, 3),
    )


def _freeze_batchnorm(net: nn.Module) -> None:
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
