"""Two processes on the CPU stand for two GPUs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from secateur.adapters.yolo import devices, worker
from secateur.adapters.yolo.door import Yolo
from secateur.errors import BrokenOffError, SpecError, StageError
from secateur.ports import Lesson, Watch
from secateur.specs import Distillation
from tests.conftest import IMGSZ, Recipe, by_labels, unwatched, watching

if TYPE_CHECKING:
    from torch import Tensor

DENSE = Distillation(labels=0.0, classes=1.0, boxes=1.0, coefficients=1.0, prototypes=1.0, masks=1.0)
PLAIN = {"precision": "fp32", "hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0, "translate": 0.0, "scale": 0.0, "fliplr": 0.0}


@pytest.fixture(scope="module")
def two(yolo: Yolo) -> Yolo:
    """A door that trains with two processes."""
    return Yolo("cpu,cpu", 0, yolo.folder)


def values(yolo: Yolo, checkpoint: Path) -> Tensor:
    """All weights and statistics of a checkpoint in a row."""
    return torch.cat([value.flatten().double() for value in yolo.load(checkpoint).state_dict().values()])


def weights(yolo: Yolo, checkpoint: Path) -> Tensor:
    return torch.cat([value.detach().flatten().double() for value in yolo.load(checkpoint).parameters()])


def shapes_of(yolo: Yolo, checkpoint: Path) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in yolo.load(checkpoint).state_dict().items()}


def workers(folder: Path) -> list[int]:
    """Processes that train together and keep their things below the folder."""
    return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if is_worker(path, folder)]


def is_worker(command: Path, folder: Path) -> bool:
    try:
        words = command.read_bytes().decode().split("\0")
    except OSError:  # it ended meanwhile
        return False
    return worker.__name__ in words and any(word.startswith(str(folder)) for word in words)


@pytest.mark.slow
def test_a_pruned_net_is_trained_by_two_processes_that_share_each_batch(
    two: Yolo, pruned_checkpoint: Path, shapes: Path, recipe: Recipe, tmp_path: Path
) -> None:
    batches: list[tuple[int, int]] = []

    curve = two.finetune(
        pruned_checkpoint, by_labels(shapes), recipe(epochs=2), IMGSZ, 0, tmp_path / "out.pt", watching(batches)
    )

    assert batches == [(1, 4), (2, 4), (3, 4), (4, 4)]  # 16 pictures, 8 in a batch, 4 of them in each process
    assert [epoch.epoch for epoch in curve] == [1, 2]
    assert shapes_of(two, tmp_path / "out.pt") == shapes_of(two, pruned_checkpoint)
    assert (weights(two, tmp_path / "out.pt") - weights(two, pruned_checkpoint)).abs().max() > 1e-4
    assert [path.name for path in tmp_path.iterdir()] == ["out.pt"]


@pytest.mark.slow
def test_two_processes_learn_from_the_unpruned_net_on_pictures_without_labels(
    two: Yolo, pruned_checkpoint: Path, seg_checkpoint: Path, shapes: Path, recipe: Recipe, tmp_path: Path
) -> None:
    lesson = Lesson(shapes, DENSE, shapes.parent / "images" / "val", seg_checkpoint, unpruned=seg_checkpoint)
    batches: list[tuple[int, int]] = []

    (epoch,) = two.finetune(pruned_checkpoint, lesson, recipe(), IMGSZ, 0, tmp_path / "out.pt", watching(batches))

    assert batches[-1] == (3, 3)  # 16 + 8 pictures
    assert sorted(epoch.losses) == ["boxes", "classes", "coefficients", "masks", "prototypes"]
    assert shapes_of(two, tmp_path / "out.pt") == shapes_of(two, pruned_checkpoint)
    assert (weights(two, tmp_path / "out.pt") - weights(two, pruned_checkpoint)).abs().max() > 1e-4


@pytest.mark.slow
def test_ultralytics_own_distillation_and_patience_work_on_two_processes(
    two: Yolo, pruned_checkpoint: Path, seg_checkpoint: Path, shapes: Path, recipe: Recipe, tmp_path: Path
) -> None:
    lesson = Lesson(shapes, Distillation(features=6.0), teacher=seg_checkpoint)

    two.finetune(pruned_checkpoint, lesson, recipe(epochs=2, patience=1), IMGSZ, 0, tmp_path / "out.pt", unwatched)

    assert shapes_of(two, tmp_path / "out.pt") == shapes_of(two, pruned_checkpoint)


@pytest.mark.slow
def test_two_processes_learn_what_one_does(
    two: Yolo, yolo: Yolo, pruned_checkpoint: Path, shapes: Path, recipe: Recipe, tmp_path: Path
) -> None:
    # not to the bit: each process divides its loss by the objects of its own half. Unless it is frozen, BatchNorm sees
    # its half alone too, which at 64 px changes all
    training = recipe(
        batch=16, optimizer="SGD", lr0=0.01, warmup_epochs=0.0, ema_decay=0.0, freeze_batchnorm=True, **PLAIN
    )

    for door, name in ((yolo, "one.pt"), (two, "two.pt")):
        door.finetune(pruned_checkpoint, by_labels(shapes), training, IMGSZ, 0, tmp_path / name, unwatched)

    before, one, both = (weights(yolo, path) for path in (pruned_checkpoint, tmp_path / "one.pt", tmp_path / "two.pt"))
    assert torch.cosine_similarity(one - before, both - before, dim=0) > 0.99
    assert float((both - before).norm() / (one - before).norm()) == pytest.approx(1, abs=0.05)


class Kill(BaseException):
    """What no code in between may catch."""


def killing(at: int) -> Watch:
    def progress(done: int, total: int) -> None:
        if done == at:
            raise Kill

    return Watch(progress, lambda epoch: None)


@pytest.mark.slow
def test_a_training_that_was_killed_ends_where_an_unbroken_one_does(
    two: Yolo, pruned_checkpoint: Path, shapes: Path, recipe: Recipe, tmp_path: Path
) -> None:
    job = (pruned_checkpoint, by_labels(shapes), recipe(epochs=3), IMGSZ, 0)  # two batches an epoch
    two.finetune(*job, tmp_path / "unbroken.pt", unwatched)
    seen: list[int] = []
    epochs: list[int] = []

    with pytest.raises(Kill):
        two.finetune(*job, tmp_path / "broken.pt", killing(at=4))
    assert workers(tmp_path) == []
    watch = Watch(lambda done, _: seen.append(done), lambda epoch: epochs.append(epoch.epoch))
    curve = two.finetune(*job, tmp_path / "broken.pt", watch)

    assert seen in ([3, 4, 5, 6], [5, 6])  # the second epoch again, unless it was over before the kill came
    assert epochs == [epoch.epoch for epoch in curve] == [1, 2, 3]
    assert torch.equal(values(two, tmp_path / "broken.pt"), values(two, tmp_path / "unbroken.pt"))


@pytest.mark.slow
def test_a_loss_that_is_no_number_stops_all_processes_and_is_told_in_one_line(
    two: Yolo, pruned_checkpoint: Path, shapes: Path, recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = two.load(pruned_checkpoint)
    wrong.model[0].conv.weight.data[:] = torch.nan
    two.save(wrong, tmp_path / "wrong.pt")

    with pytest.raises(
        StageError, match=r"^training failed twice: the loss became nan in epoch 1; lower finetune.lr0="
    ):
        two.finetune(tmp_path / "wrong.pt", by_labels(shapes), recipe(), IMGSZ, 0, tmp_path / "out.pt", unwatched)

    assert "once more from the start, at half the rate" in caplog.text
    assert workers(tmp_path) == []


@pytest.mark.slow
def test_a_process_that_is_killed_ends_the_training_in_one_line(
    two: Yolo, pruned_checkpoint: Path, shapes: Path, recipe: Recipe, tmp_path: Path
) -> None:
    def kill_one(done: int, total: int) -> None:
        if done == 1:
            os.kill(workers(tmp_path)[-1], signal.SIGKILL)

    job = (pruned_checkpoint, by_labels(shapes), recipe(epochs=50), IMGSZ, 0, tmp_path / "out.pt")

    with pytest.raises(
        BrokenOffError, match=r"^training broken off: SIGKILL ended process .; the same command goes on"
    ):
        two.finetune(*job, Watch(kill_one, lambda epoch: None))

    assert workers(tmp_path) == []


SCRIPT = """
import json, sys
from pathlib import Path
from secateur.adapters.yolo import open_yolo
from secateur.ports import Lesson, Watch
from secateur.specs import Distillation, Training

folder, weights, data, recipe = map(Path, sys.argv[1:])
watch = Watch(lambda *at: print(*at, flush=True), lambda epoch: None)
training = Training(**json.loads(recipe.read_text()))
lesson = Lesson(data, Distillation())
open_yolo("cpu,cpu", 0, folder).finetune(weights, lesson, training, 64, 0, folder / "out.pt", watch)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_outlives_the_one_that_started_it(
    how: signal.Signals, detect_checkpoint: Path, shapes: Path, recipe: Recipe, tmp_path: Path
) -> None:
    (tmp_path / "recipe.json").write_text(json.dumps(vars(recipe(epochs=500))))
    command = [sys.executable, "-c", SCRIPT, tmp_path, detect_checkpoint, shapes, tmp_path / "recipe.json"]
    parent = subprocess.Popen(
        [str(word) for word in command],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert parent.stdout
    assert parent.stdout.readline()
    assert len(workers(tmp_path)) == 2

    parent.send_signal(how)
    parent.wait(20)

    deadline = time.monotonic() + 10
    while workers(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert workers(tmp_path) == []


@pytest.mark.parametrize(
    ("asked", "expected"),
    [("cpu", ("cpu",)), ("cuda", ("cuda:0",)), ("0", ("cuda:0",)), ("cuda:1", ("cuda:1",)),
     ("0,1", ("cuda:0", "cuda:1")), ("cuda:2, 0", ("cuda:2", "cuda:0")), ("cpu,cpu", ("cpu", "cpu"))],
)  # fmt: skip
def test_devices_are_named_by_their_kind_and_number(asked: str, expected: tuple[str, ...]) -> None:
    assert devices.named(asked) == expected


@pytest.mark.parametrize(
    ("asked", "line"),
    [("abc", "a device is cpu, cuda or the number of a GPU, several stand between commas; here there is cpu"),
     ("", "a device is cpu, cuda or the number of a GPU, several stand between commas; here there is cpu"),
     ("cpu,cuda:0", "CPU and GPUs do not train together; here there is cpu"),
     ("0,0", "a GPU is named twice; here there is cpu")],
)  # fmt: skip
def test_devices_that_make_no_sense_are_refused_in_one_line(asked: str, line: str) -> None:
    with pytest.raises(SpecError, match=f"^device={asked!r}: {line}.*$"):
        devices.named(asked)


def test_a_gpu_that_is_not_there_is_refused_with_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)

    assert devices.check_there("0,1") == ("cuda:0", "cuda:1")
    with pytest.raises(SpecError, match=r"^device='7': there is no cuda:7 here, there is cpu, cuda:0, cuda:1$"):
        devices.check_there("7")


def test_a_batch_that_cannot_be_divided_is_refused(
    two: Yolo, pruned_checkpoint: Path, shapes: Path, recipe: Recipe, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=r"^finetune.batch=9 cannot be divided among 2 devices; take finetune.batch=8$"):
        two.finetune(pruned_checkpoint, by_labels(shapes), recipe(batch=9), IMGSZ, 0, tmp_path / "out.pt", unwatched)
