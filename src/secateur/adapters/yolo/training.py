"""Training: one attempt, and another at half the rate where the loss became no number."""

from __future__ import annotations

import copy
import logging
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ultralytics.nn.tasks import BaseModel, DetectionModel, SegmentationModel, load_checkpoint
from ultralytics.utils import YAML
from ultralytics.utils.torch_utils import init_seeds, strip_qat

from secateur.adapters.yolo import ranks, rounding, unfinished
from secateur.adapters.yolo.distillation import student_of
from secateur.adapters.yolo.trainers import epoch_of, overrides_of, set_rate, trainer_of
from secateur.errors import StageError
from secateur.ports import Lesson, Progress, Watch
from secateur.results import Epoch
from secateur.specs import Training

log = logging.getLogger(__name__)

NO_ROOM = ("out of memory", "can't allocate memory")
"""How torch says it, of a GPU and of a CPU."""

Trained = tuple[BaseModel, tuple[Epoch, ...]]
"""The running average of the last epoch, or of the best where `patience` asks for one, and what each epoch brought."""


@dataclass(frozen=True)
class Task:
    """A training; `folder` holds what an unfinished one needs to go on, and where it does already, it goes on.

    `key` is where a person set how it is done.
    """

    net: BaseModel
    lesson: Lesson
    training: Training
    imgsz: int
    seed: int
    device: str
    workers: int
    folder: Path
    key: str = "finetune"


class DivergedError(Exception):
    """The loss is no number any more."""


Attempt = Callable[[Task, Watch], Trained]
"""One attempt at a training; raises DivergedError where the loss becomes no number."""


def build(architecture: str, data: Path, seed: int) -> BaseModel:
    """A net of that architecture with random weights, for the classes of the data set."""
    init_seeds(seed, deterministic=True)
    kind = SegmentationModel if "-seg" in architecture else DetectionModel
    names = YAML.load(data)["names"]
    net = kind(architecture, nc=len(names), ch=3, verbose=False)
    net.task = "segment" if kind is SegmentationModel else "detect"
    return net


def train(task: Task, complete: Attempt, watch: Watch) -> Trained:
    """Raises StageError where it cannot be done, or where the loss became no number twice."""
    try:
        return complete(task, watch)
    except DivergedError as error:
        log.warning("training: %s; once more from the start, at half the rate", error)
        shutil.rmtree(task.folder)
    try:
        return complete(replace(task, training=replace(task.training, lr0=task.training.lr0 / 2)), watch)
    except DivergedError as error:
        raise StageError(f"training failed twice: {error}; lower {task.key}.lr0={task.training.lr0:g}") from error


def complete(task: Task, watch: Watch) -> Trained:
    """An `Attempt` on one device; in each of the processes of one that train together."""
    task.folder.mkdir(exist_ok=True)
    trainer = _prepared(task)
    trainer.add_callback("on_train_start", _teller_of_earlier(watch))
    trainer.add_callback("on_train_batch_start", set_rate)
    trainer.add_callback("on_train_batch_end", _refuser_of_smaller_batches(task))
    trainer.add_callback("on_train_batch_end", _refuse_nonsense)
    trainer.add_callback("on_train_batch_end", _reporter(watch.batch))
    trainer.add_callback("on_fit_epoch_end", _keeper(watch, task.folder))
    try:
        trainer.train()
    except (RuntimeError, ValueError) as error:
        raise StageError(_why(error, task.key, task.training.batch)) from error
    net = load_checkpoint(trainer.best)[0] if task.training.patience else trainer.ema.ema
    strip_qat(net)  # of the rounding, where there was one: the weights bear it now
    return student_of(net), tuple(trainer.curve)


def _prepared(task: Task) -> Any:
    overrides = overrides_of(task.training, task.device) | _taught(task.lesson)
    net, regularizer = copy.deepcopy(task.net), task.lesson.regularizer
    regularize = regularizer(net) if regularizer else None  # traces the net, which leaves it in eval mode
    trainer = trainer_of(
        net, pictures(task.lesson, task.folder), overrides, task.imgsz, task.seed, task.device, task.workers,
        task.folder,
    )  # fmt: skip
    trainer.training, trainer.lesson, trainer.regularize = task.training, task.lesson, regularize
    return trainer


def _refuser_of_smaller_batches(task: Task) -> Callable[[Any], None]:
    """Where a batch does not fit in a GPU's memory, Ultralytics halves it until it does, and says nothing."""

    def refuse(trainer: Any) -> None:
        asked, fits = task.training.batch, trainer.batch_size
        if fits < asked:
            raise StageError(f"training failed: {asked} pictures do not fit in memory; take {task.key}.batch={fits}")

    return refuse


def _refuse_nonsense(trainer: Any) -> None:
    loss = float(trainer.loss.detach())
    if not math.isfinite(loss):
        raise DivergedError(f"the loss became {loss} in epoch {trainer.epoch + 1}")


def _keeper(watch: Watch, folder: Path) -> Callable[[Any], None]:
    def keep(trainer: Any) -> None:
        trainer.curve.append(epoch_of(trainer))
        watch.epoch(trainer.curve[-1])
        randoms = ranks.gathered(unfinished.randomness())  # by all, since `stop` is known to the leading one alone
        if ranks.leads() and trainer.epoch + 1 < trainer.epochs and not trainer.stop:
            unfinished.keep(trainer, randoms, folder)

    return keep


def _teller_of_earlier(watch: Watch) -> Callable[[Any], None]:
    """Of the epochs that were done before a training that was killed goes on."""

    def tell(trainer: Any) -> None:
        for epoch in trainer.curve:
            watch.epoch(epoch)

    return tell


def _why(error: Exception, key: str, batch: int) -> str:
    line = str(error).splitlines()[0]
    hint = f"; {batch} pictures at a time do not fit, try {key}.batch={max(1, batch // 2)}"
    return f"training failed: {line}" + (hint if any(words in line.lower() for words in NO_ROOM) else "")


def _taught(lesson: Lesson) -> dict[str, Any]:
    """What turns Ultralytics' own distillation on, and its quantization-aware training."""
    features = lesson.distillation.features
    distilled = {"distill_model": str(lesson.teacher), "dis": features} if features else {}
    return distilled | (rounding.settings() if lesson.rounded else {})


def pictures(lesson: Lesson, scratch: Path) -> Path:
    """The data yaml to train by: the pictures without labels count as training pictures."""
    if lesson.unlabelled is None:
        return lesson.data
    said = YAML.load(lesson.data)
    labelled, unseen = (str(lesson.data.parent / said[split]) for split in ("train", "val"))
    YAML.save(scratch / "data.yaml", said | {"train": [labelled, str(lesson.unlabelled)], "val": unseen})
    return scratch / "data.yaml"


def _reporter(progress: Progress) -> Callable[[Any], None]:
    def report(trainer: Any) -> None:
        batches = len(trainer.train_loader)
        progress(trainer.epoch * batches + trainer.batches_done, trainer.epochs * batches)

    return report
