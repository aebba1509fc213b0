"""Training by Ultralytics' own trainers, made to keep the net they are given."""

from __future__ import annotations

import copy
import logging
import math
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.models.yolo.segment import SegmentationTrainer
from ultralytics.nn.tasks import BaseModel, DetectionModel, SegmentationModel, load_checkpoint
from ultralytics.utils import YAML
from ultralytics.utils.torch_utils import ModelEMA, init_seeds

from secateur.adapters.yolo import checkpoint, unfinished
from secateur.adapters.yolo.distillation import DenseCriterion, student_of
from secateur.convolutions import hooked
from secateur.errors import StageError
from secateur.ports import Lesson, Progress
from secateur.specs import Training

log = logging.getLogger(__name__)

QUIET: dict[str, Any] = {"plots": False, "verbose": False, "deterministic": True, "model": "secateur", "mode": "train"}
PLAIN: dict[str, Any] = {"epochs": 1, "mosaic": 0.0, "hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0, "degrees": 0.0,
                         "translate": 0.0, "scale": 0.0, "fliplr": 0.0, "close_mosaic": 0}  # fmt: skip
"""Pictures as they are: no augmentation."""


class _KeepsItsNet:
    """`Model.train()` rebuilds a net from its yaml, which undoes a prune; a trainer that already holds one does not."""

    training: Training | None = None
    lesson: Lesson | None = None

    def _setup_train(self) -> None:
        super()._setup_train()
        if self.training:
            self.ema = ModelEMA(self.model, self.training.ema_decay, self.training.ema_tau)
            unfinished.take_up(self, self.save_dir)
        if self.lesson and self.lesson.distillation.dense:  # after the average was made, which needs no teacher
            assert self.lesson.teacher
            teacher = checkpoint.load(self.lesson.teacher).to(self.device)
            self.model.criterion = DenseCriterion(teacher, self.lesson.distillation, self.model.init_criterion())

    def _model_train(self) -> None:
        super()._model_train()
        if self.training.freeze_batchnorm:
            _freeze_batchnorm(self.model)

    def validate(self) -> tuple[dict[str, float], float | None]:
        return super().validate() if self.training.patience else ({}, None)

    def final_eval(self) -> None:
        """Left out: the evaluate stage scores."""


class _Segmentation(_KeepsItsNet, SegmentationTrainer):
    pass


class _Detection(_KeepsItsNet, DetectionTrainer):
    pass


def build(architecture: str, data: Path, seed: int) -> BaseModel:
    """A net of that architecture with random weights, for the classes of the data set."""
    init_seeds(seed, deterministic=True)
    kind = SegmentationModel if "-seg" in architecture else DetectionModel
    names = YAML.load(data)["names"]
    net = kind(architecture, nc=len(names), ch=3, verbose=False)
    net.task = "segment" if kind is SegmentationModel else "detect"
    return net


def train(
    net: BaseModel,
    lesson: Lesson,
    training: Training,
    imgsz: int,
    seed: int,
    device: str,
    workers: int,
    progress: Progress,
    folder: Path,
) -> BaseModel:
    """The trained net: the running average of the last epoch, or of the best where `patience` asks for one.

    `folder` holds what an unfinished training needs to go on; where it holds that already, it does.
    """

    def attempt(training: Training) -> BaseModel:
        folder.mkdir(exist_ok=True)
        overrides, pictures = _overrides(training) | _taught(lesson), _pictures(lesson, folder)
        trainer = _trainer(copy.deepcopy(net), pictures, overrides, imgsz, seed, device, workers, folder)
        trainer.training, trainer.lesson = training, lesson
        trainer.add_callback("on_train_batch_end", _refuse_nonsense)
        trainer.add_callback("on_train_batch_end", _reporter(progress))
        trainer.add_callback("on_fit_epoch_end", _keeper(folder))
        try:
            trainer.train()
        except (RuntimeError, ValueError) as error:
            raise StageError(_why(error, training.batch)) from error
        return student_of(load_checkpoint(trainer.best)[0] if training.patience else trainer.ema.ema)

    try:
        return attempt(training)
    except DivergedError as error:
        log.warning("training: %s; once more from the start, at half the rate", error)
        shutil.rmtree(folder)
    try:
        return attempt(replace(training, lr0=training.lr0 / 2))
    except DivergedError as error:
        raise StageError(f"training failed twice: {error}; lower finetune.lr0={training.lr0:g}") from error


class DivergedError(Exception):
    """The loss is no number any more."""


def _refuse_nonsense(trainer: Any) -> None:
    loss = float(trainer.loss.detach())
    if not math.isfinite(loss):
        raise DivergedError(f"the loss became {loss} in epoch {trainer.epoch + 1}")


def _keeper(folder: Path) -> Callable[[Any], None]:
    def keep(trainer: Any) -> None:
        if trainer.epoch + 1 < trainer.epochs and not trainer.stop:
            unfinished.keep(trainer, folder)

    return keep


def _why(error: Exception, batch: int) -> str:
    line = str(error).splitlines()[0]
    hint = f"; {batch} pictures at a time do not fit, try finetune.batch={max(1, batch // 2)}"
    return f"training failed: {line}" + (hint if "out of memory" in line.lower() else "")


def _taught(lesson: Lesson) -> dict[str, Any]:
    """What turns Ultralytics' own distillation on."""
    features = lesson.distillation.features
    return {"distill_model": str(lesson.teacher), "dis": features} if features else {}


def _pictures(lesson: Lesson, scratch: Path) -> Path:
    """The data yaml to train by: the pictures without labels count as training pictures."""
    if lesson.unlabelled is None:
        return lesson.data
    said = YAML.load(lesson.data)
    labelled, unseen = (str(lesson.data.parent / said[split]) for split in ("train", "val"))
    YAML.save(scratch / "data.yaml", said | {"train": [labelled, str(lesson.unlabelled)], "val": unseen})
    return scratch / "data.yaml"


def accumulate_gradients(
    net: BaseModel, data: Path, imgsz: int, batches: int, batch: int, seed: int, device: str, progress: Progress
) -> None:
    """Adds up the gradients of the training loss over so many batches, BatchNorm statistics left alone."""
    with tempfile.TemporaryDirectory(prefix="secateur-gradients-") as scratch:
        trainer = _trainer(net, data, PLAIN | {"batch": batch}, imgsz, seed, device, 0, Path(scratch))
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


def _trainer(
    net: BaseModel,
    data: Path,
    overrides: dict[str, Any],
    imgsz: int,
    seed: int,
    device: str,
    workers: int,
    scratch: Path,
) -> Any:
    kind = _Segmentation if net.task == "segment" else _Detection
    where = {"data": str(data), "imgsz": imgsz, "seed": seed, "device": device, "workers": workers,
             "save_dir": str(scratch)}  # fmt: skip
    trainer = kind(overrides={**QUIET, **overrides, **where, "amp": _half_precision(device)})
    trainer.model = net.train()
    for parameter in net.parameters():
        parameter.requires_grad = True
    return trainer


def _overrides(training: Training) -> dict[str, Any]:
    settings = {name: getattr(training, name) for name in Training.__dataclass_fields__}
    for ours in ("freeze_batchnorm", "ema_decay", "ema_tau"):
        del settings[ours]
    settings["close_mosaic"] = min(training.close_mosaic, training.epochs)
    return settings | {
        "nbs": training.batch,  # no accumulation: each batch is a step
        "warmup_bias_lr": 0.0,  # the default 0.1 throws a pretrained net's biases away
        "val": bool(training.patience),
        "save": bool(training.patience),
    }


def _half_precision(device: str) -> str | bool:
    """bf16 where a GPU has it; Ultralytics' own check of fp16 would download weights."""
    return "bf16" if device != "cpu" and torch.cuda.is_available() and torch.cuda.is_bf16_supported() else False


def _freeze_batchnorm(net: nn.Module) -> None:
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def _reporter(progress: Progress) -> Callable[[Any], None]:
    done = 0

    def report(trainer: Any) -> None:
        nonlocal done
        done = (done or trainer.start_epoch * len(trainer.train_loader)) + 1
        progress(done, trainer.epochs * len(trainer.train_loader))

    return report
