from __future__ import annotations

import copy
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from secateur.adapters.channel_pruning import ChannelPruner
from secateur.adapters.yolo import checkpoint, training
from secateur.adapters.yolo.door import Yolo
from secateur.errors import SpecError, StageError
from secateur.ports import Watch
from tests.conftest import IMGSZ, Recipe, by_labels, no_progress, random_checkpoint, unwatched, watching

if TYPE_CHECKING:
    from torch import Tensor

    from secateur.specs import Training


def tune(yolo: Yolo, weights: Path, data: Path, training: Training, out: Path, seed: int = 0) -> nn.Module:
    yolo.finetune(weights, by_labels(data), training, IMGSZ, seed, out, unwatched)
    return yolo.load(out)


def widths(net: nn.Module) -> dict[str, torch.Size]:
    return {name: values.shape for name, values in net.state_dict().items()}


def statistics(net: nn.Module) -> dict[str, Tensor]:
    return {name: values for name, values in net.state_dict().items() if "running" in name}


def convolutions(net: nn.Module) -> dict[str, Tensor]:
    return {f"{n}.weight": m.weight.detach() for n, m in net.named_modules() if isinstance(m, nn.Conv2d)}


def largest_change(before: dict[str, Tensor], after: dict[str, Tensor]) -> float:
    return max(float((after[name] - values).abs().max()) for name, values in before.items())


@pytest.fixture(scope="module")
def tuned(
    tmp_path_factory: pytest.TempPathFactory, yolo: Yolo, pruned_checkpoint: Path, shapes: Path, recipe: Recipe
) -> Path:
    out = tmp_path_factory.mktemp("tuned") / "tuned.pt"
    tune(yolo, pruned_checkpoint, shapes, recipe(), out)
    return out


def test_a_pruned_net_is_trained_saved_and_reloaded_in_its_pruned_shape(
    yolo: Yolo, pruned_checkpoint: Path, tuned: Path
) -> None:
    pruned, trained = yolo.load(pruned_checkpoint), yolo.load(tuned)

    assert widths(trained) == widths(pruned)
    assert ChannelPruner().footprint(trained, IMGSZ) == ChannelPruner().footprint(pruned, IMGSZ)


def test_training_changes_weights_and_running_statistics(yolo: Yolo, pruned_checkpoint: Path, tuned: Path) -> None:
    before, after = yolo.load(pruned_checkpoint), yolo.load(tuned)

    assert largest_change(convolutions(before), convolutions(after)) > 1e-4
    assert largest_change(statistics(before), statistics(after)) > 1e-2


def test_frozen_batchnorm_keeps_its_running_statistics_while_weights_learn(
    yolo: Yolo, pruned_checkpoint: Path, shapes: Path, recipe: Recipe, tmp_path: Path
) -> None:
    before = yolo.load(pruned_checkpoint)

    after = tune(yolo, pruned_checkpoint, shapes, recipe(freeze_batchnorm=True), tmp_path / "out.pt")

    torch.testing.assert_close(statistics(after), statistics(before), rtol=1e-3, atol=1e-4)  # saved in FP16
    assert largest_change(convolutions(before), convolutions(after)) > 1e-4


def test_the_same_seed_gives_the_same_bytes(
    yolo: Yolo, pruned_checkpoint: Path, shapes: Path, recipe: Recipe, tuned: Path, tmp_path: Path
) -> None:
    tune(yolo, pruned_checkpoint, shapes, recipe(), tmp_path / tuned.name)

    assert (tmp_path / tuned.name).read_bytes() == tuned.read_bytes()


def test_another_seed_gives_other_weights(
    yolo: Yolo, pruned_checkpoint: Path, shapes: Path, recipe: Recipe, tuned: Path, tmp_path: Path
) -> None:
    other = tune(yolo, pruned_checkpoint, shapes, recipe(), tmp_path / "other.pt", seed=1)

    assert largest_change(convolutions(yolo.load(tuned)), convolutions(other)) > 0


def test_patience_stops_early_and_keeps_the_best_epoch(
    yolo: Yolo, trained_checkpoint: Path, easy_shapes: Path, recipe: Recipe, tmp_path: Path
) -> None:
    # one batch an epoch, and a rate that rises from 0 to what destroys: the first epoch is the best
    training = recipe(epochs=8, batch=32, lr0=0.1, warmup_epochs=7.0, patience=2, freeze_batchnorm=True)
    batches: list[tuple[int, int]] = []

    yolo.finetune(
        trained_checkpoint,
        by_labels(easy_shapes),
        training,
        IMGSZ,
        0,
        tmp_path / "out.pt",
        watching(batches),
    )

    assert batches == [(1, 8), (2, 8), (3, 8)]
    before, after = (convolutions(yolo.load(path)) for path in (trained_checkpoint, tmp_path / "out.pt"))
    assert largest_change(before, after) < 1e-3


def test_progress_ends_at_its_total(
    yolo: Yolo, detect_checkpoint: Path, shapes: Path, recipe: Recipe, tmp_path: Path
) -> None:
    batches: list[tuple[int, int]] = []

    yolo.finetune(
        detect_checkpoint,
        by_labels(shapes),
        recipe(epochs=2),
        IMGSZ,
        0,
        tmp_path / "out.pt",
        watching(batches),
    )

    assert batches == [(1, 4), (2, 4), (3, 4), (4, 4)]  # 16 pictures in batches of 8, twice


def test_an_architecture_that_ultralytics_does_not_have_is_refused(
    yolo: Yolo, shapes: Path, recipe: Recipe, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match="Ultralytics has no 'yolov8q-seg.yaml'"):
        yolo.train_from_scratch("yolov8q-seg.yaml", shapes, recipe(), IMGSZ, 0, tmp_path / "out.pt", unwatched)


def test_a_training_that_diverges_ends_in_one_line(
    yolo: Yolo, detect_checkpoint: Path, shapes: Path, recipe: Recipe, tmp_path: Path
) -> None:
    explosive = recipe(epochs=4, lr0=1.0, warmup_epochs=0.0, freeze_batchnorm=True)

    with pytest.raises(StageError, match="^training failed twice: the loss became .*$"):
        tune(yolo, detect_checkpoint, shapes, explosive, tmp_path / "out.pt")
    assert not (tmp_path / "out.pt").exists()


@pytest.fixture
def boxes(shapes: Path, tmp_path: Path) -> Path:
    """The data.yaml of the same pictures with a box in each."""
    folder = Path(shutil.copytree(shapes.parent, tmp_path / "boxes"))
    for path in (folder / "labels").rglob("*.txt"):
        path.write_text("0 0.5 0.5 0.8 0.8\n")
    return folder / "data.yaml"


def test_a_detector_learns_from_boxes(
    yolo: Yolo, detect_checkpoint: Path, boxes: Path, recipe: Recipe, tmp_path: Path
) -> None:
    tuned = tune(yolo, detect_checkpoint, boxes, recipe(), tmp_path / "out.pt")

    assert largest_change(convolutions(yolo.load(detect_checkpoint)), convolutions(tuned)) > 1e-4


def test_a_net_that_segments_is_not_trained_on_boxes(yolo: Yolo, boxes: Path, recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(StageError, match="^training failed: Segment dataset requires .+$"):
        yolo.train_from_scratch("yolov8n-seg.yaml", boxes, recipe(), IMGSZ, 0, tmp_path / "out.pt", unwatched)


def test_gradients_reach_every_convolution_and_leave_weights_and_statistics_alone(
    yolo: Yolo, seg_checkpoint: Path, shapes: Path
) -> None:
    net = yolo.load(seg_checkpoint)
    before = copy.deepcopy(net.state_dict())

    yolo.accumulate_gradients(net, shapes, IMGSZ, 3, 8, 0, no_progress)  # one batch more than there are

    assert not [n for n, p in net.named_parameters() if "dfl" not in n and (p.grad is None or not p.grad.any())]
    torch.testing.assert_close(dict(net.state_dict()), dict(before), rtol=0, atol=0)


def test_the_same_seed_gives_the_same_gradients(yolo: Yolo, seg_checkpoint: Path, shapes: Path) -> None:
    gradients = []
    for _ in range(2):
        net = yolo.load(seg_checkpoint)
        yolo.accumulate_gradients(net, shapes, IMGSZ, 1, 8, 0, no_progress)
        gradients.append({name: p.grad for name, p in net.named_parameters() if p.grad is not None})

    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=0)


def test_nothing_is_written_beside_the_data(
    yolo: Yolo, seg_checkpoint: Path, shapes: Path, recipe: Recipe, tmp_path: Path
) -> None:
    before = listing(shapes.parent)

    tune(yolo, seg_checkpoint, shapes, recipe(patience=1), tmp_path / "out.pt")
    yolo.evaluate(seg_checkpoint, shapes, IMGSZ, no_progress)
    yolo.accumulate_gradients(yolo.load(seg_checkpoint), shapes, IMGSZ, 1, 8, 0, no_progress)

    assert listing(shapes.parent) == before


def listing(folder: Path) -> dict[str, int]:
    """Everything in the folder, with the time of its last change."""
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


class Kill(BaseException):
    """What no code in between may catch."""


def kill_after(batches: int) -> Callable[[int, int], None]:
    def progress(done: int, total: int) -> None:
        if done == batches:
            raise Kill

    return progress


@pytest.mark.parametrize(
    ("architecture", "patience"), [("yolov8n-seg.yaml", 0), ("yolov8n-seg.yaml", 5), ("yolo26n.yaml", 0)]
)
def test_a_training_that_was_killed_ends_where_an_unbroken_one_does(
    architecture: str, patience: int, yolo: Yolo, shapes: Path, recipe: Recipe, tmp_path: Path
) -> None:
    seg_checkpoint = random_checkpoint(architecture, tmp_path / "net.pt", yolo, shapes)
    training = recipe(epochs=4, patience=patience)  # two batches an epoch
    unbroken = tune(yolo, seg_checkpoint, shapes, training, tmp_path / "unbroken.pt")
    seen: list[int] = []
    epochs: list[int] = []

    with pytest.raises(Kill):
        yolo.finetune(
            seg_checkpoint,
            by_labels(shapes),
            training,
            IMGSZ,
            0,
            tmp_path / "broken.pt",
            Watch(kill_after(5), lambda epoch: None),
        )
    torch.manual_seed(99)
    random.seed(99)
    watch = Watch(lambda done, _: seen.append(done), lambda epoch: epochs.append(epoch.epoch))
    curve = yolo.finetune(seg_checkpoint, by_labels(shapes), training, IMGSZ, 0, tmp_path / "broken.pt", watch)

    assert seen == [5, 6, 7, 8]  # the third epoch again, since it was not finished
    assert epochs == [epoch.epoch for epoch in curve] == [1, 2, 3, 4]
    broken = yolo.load(tmp_path / "broken.pt").state_dict()
    assert all(torch.equal(values, broken[name]) for name, values in unbroken.state_dict().items())
    assert [path.name for path in tmp_path.iterdir() if "broken" in path.name and path.suffix != ".pt"] == []


def test_a_training_from_scratch_that_was_killed_ends_where_an_unbroken_one_does(
    yolo: Yolo, shapes: Path, recipe: Recipe, tmp_path: Path
) -> None:
    def train(name: str, watch: Watch) -> dict[str, torch.Tensor]:
        yolo.train_from_scratch("yolov8n.yaml", shapes, recipe(epochs=2), IMGSZ, 0, tmp_path / name, watch)
        return yolo.load(tmp_path / name).state_dict()

    unbroken = train("unbroken.pt", unwatched)
    with pytest.raises(Kill):
        train("broken.pt", Watch(kill_after(3), lambda epoch: None))
    broken = train("broken.pt", unwatched)

    assert all(torch.equal(values, broken[name]) for name, values in unbroken.items())


def test_a_checkpoint_that_was_trained_in_bf16_lies_as_plain_ultralytics_wants_it(
    yolo: Yolo, seg_checkpoint: Path, shapes: Path, recipe: Recipe, tmp_path: Path
) -> None:
    tuned = tune(yolo, seg_checkpoint, shapes, recipe(precision="bf16"), tmp_path / "out.pt")

    assert largest_change(convolutions(yolo.load(seg_checkpoint)), convolutions(tuned)) > 1e-4
    assert all(values.is_contiguous() for values in tuned.state_dict().values())


def test_a_loss_that_is_no_number_is_tried_once_more_at_half_the_rate_and_then_refused(
    yolo: Yolo, seg_checkpoint: Path, shapes: Path, recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = yolo.load(seg_checkpoint)
    wrong.model[0].conv.weight.data[:] = torch.nan
    yolo.save(wrong, tmp_path / "wrong.pt")

    with pytest.raises(
        StageError, match=r"^training failed twice: the loss became nan in epoch 1; lower finetune.lr0="
    ):
        yolo.finetune(tmp_path / "wrong.pt", by_labels(shapes), recipe(), IMGSZ, 0, tmp_path / "out.pt", unwatched)

    assert "once more from the start, at half the rate" in caplog.text
    assert (tmp_path / "wrong.pt").is_file()


@pytest.mark.parametrize(
    ("fits", "line"),
    [
        (2, "8 pictures do not fit in memory; take finetune.batch=2"),
        (0, "CUDA out of memory: no room; 8 pictures at a time do not fit, try finetune.batch=4"),
    ],
)
def test_a_batch_that_does_not_fit_is_told_with_one_that_does(
    fits: int, line: str, yolo: Yolo, seg_checkpoint: Path, shapes: Path, recipe: Recipe, tmp_path: Path
) -> None:
    def run_out_of_memory(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if layer.training and len(inputs[0]) > fits:
            raise RuntimeError("CUDA out of memory: no room")

    net = checkpoint.load(seg_checkpoint)
    net.model[0].register_forward_pre_hook(run_out_of_memory)
    task = training.Task(net, by_labels(shapes), recipe(), IMGSZ, 0, "cpu", 0, tmp_path / "training")

    with pytest.raises(StageError) as refusal:
        training.train(task, training.complete, unwatched)

    assert str(refusal.value) == f"training failed: {line}"
