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
from secateur.adapters.yolo.distillation import DenseCriterion, channels_read, student_of
from secateur.adapters.yolo.precision import settled
from secateur.adapters.yolo.unroll import unroll
from secateur.adapters.yolo.untouched import untouched
from secateur.errors import StageError
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
        self.curve = []
        if self.amp:  # bf16 is a fifth faster so, on the CPU too
            self.model.to(memory_format=torch.channels_last)
        if not self.training or not self.lesson:
            return
        if self.lesson.unpruned:
            self._freeze_untouched(self.lesson.unpruned)
        self.ema = ModelEMA(self.model, self.training.ema_decay, self.training.ema_tau)
        if self.lesson.distillation.dense:  # after the average was made, which needs no teacher
            self._learn_from_teacher(self.lesson)
        unfinished.take_up(self, self.save_dir)

    def _freeze_untouched(self, unpruned: Path) -> None:
        """These layers do not learn; Ultralytics leaves the BatchNorm of those in its list alone too."""
        net = student_of(unwrap_model(self.model))
        paths = tuple(f"{path}." for path in untouched(net, unroll(checkpoint.load(unpruned))))
        self.freeze_layer_names = [*self.freeze_layer_names, *paths]
        for name, parameter in net.named_parameters():
            if name.startswith(paths):
                parameter.requires_grad = False
        if not any(parameter.requires_grad for parameter in net.parameters()):
            raise StageError("finetune.freeze=untouched leaves nothing to learn: no layer lost a channel; take none")

    def _learn_from_teacher(self, lesson: Lesson) -> None:
        assert lesson.teacher
        net, teacher = unwrap_model(self.model), checkpoint.load(lesson.teacher).to(self.device)
        teacher.to(memory_format=torch.channels_last)
        channels = channels_read(net, teacher, lesson.kept) if lesson.distillation.neck else ()
        net.criterion = DenseCriterion(teacher, lesson.distillation, net.init_criterion(), channels)

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
        """Only where `patience` asks; the average, which is what is scored, has the criterion for that long."""
        if not self.training.patience:
            return {}, None
        self.ema.ema.criterion = unwrap_model(self.model).criterion
        try:
            return super().validate()
        finally:
            self.ema.ema.criterion = None

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
    precision = settled(training.precision, device)
    settings["close_mosaic"] = min(training.close_mosaic, training.epochs)
    return settings | {
        "amp": False if precision == "fp32" else precision,
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
