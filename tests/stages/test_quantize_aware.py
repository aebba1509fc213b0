from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from ultralytics import YOLO

from secateur.adapters.channel_pruning import ChannelPruner
from secateur.adapters.yolo.door import Yolo
from secateur.ports import Lesson, Tools
from secateur.runner import Runner
from secateur.stages import quantize_aware
from secateur.store import Store, artifact
from tests.conftest import IMGSZ, Recipe, no_progress, unwatched

pytestmark = pytest.mark.skipif(
    not (find_spec("modelopt") and find_spec("huggingface_hub")), reason="needs ModelOpt: pip install 'secateur[qat]'"
)

Stage = Callable[[quantize_aware.Inputs], quantize_aware.Outputs]


@pytest.fixture(scope="module")
def stage(yolo: Yolo, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    run = Runner(Tools(yolo, ChannelPruner(), yolo, no_progress), Store(tmp_path_factory.mktemp("qat") / "store"))
    return lambda inputs: run(quantize_aware.run, inputs, "pruned-int8_qat")


@pytest.fixture(scope="module")
def inputs(pruned_checkpoint: Path, shapes: Path, recipe: Recipe) -> quantize_aware.Inputs:
    gentle = recipe(epochs=2, precision="fp32", lr0=0.0002, freeze_batchnorm=True)
    return quantize_aware.Inputs(artifact(pruned_checkpoint), artifact(shapes.parent), gentle, IMGSZ, 0)


@pytest.fixture(scope="module")
def made(stage: Stage, inputs: quantize_aware.Inputs) -> quantize_aware.Outputs:
    return stage(inputs)


def test_a_net_that_learnt_rounded_keeps_its_pruned_shape_and_is_a_plain_checkpoint(
    made: quantize_aware.Outputs, inputs: quantize_aware.Inputs
) -> None:
    before, after = (YOLO(weights.path).model for weights in (inputs.weights, made.weights))

    assert {name: type(module).__name__ for name, module in after.named_modules()} == {
        name: type(module).__name__ for name, module in before.named_modules()
    }
    assert {name: values.shape for name, values in after.state_dict().items()} == {
        name: values.shape for name, values in before.state_dict().items()
    }


def test_it_is_the_rounding_that_there_is_to_learn(
    yolo: Yolo, inputs: quantize_aware.Inputs, recipe: Recipe, tmp_path: Path
) -> None:
    still = recipe(epochs=1, precision="fp32", lr0=1e-9, freeze_batchnorm=True)
    weights = inputs.weights.path
    exact = Lesson(inputs.data.path / "data.yaml", quantize_aware.ITSELF, teacher=weights)
    curves = [
        yolo.finetune(weights, lesson, still, IMGSZ, 0, tmp_path / "out.pt", unwatched)
        for lesson in (exact, replace(exact, rounded=True))
    ]

    unrounded, rounded = (curve[0].losses["neck"] for curve in curves)
    assert rounded > 1e-6 > 100 * unrounded


class Kill(BaseException):
    """What no code in between may catch."""


def kill_in_the_second_epoch(done: int, total: int) -> None:
    if done == 3:  # two batches an epoch
        raise Kill


def test_a_rounded_training_that_was_killed_ends_where_an_unbroken_one_does(
    yolo: Yolo, inputs: quantize_aware.Inputs, made: quantize_aware.Outputs, tmp_path: Path
) -> None:
    broken = replace(Tools(yolo, ChannelPruner(), yolo, no_progress), progress=kill_in_the_second_epoch)

    with pytest.raises(Kill):
        quantize_aware.run(inputs, broken, tmp_path)
    done = quantize_aware.run(inputs, replace(broken, progress=no_progress), tmp_path)

    assert done.weights.sha256 == made.weights.sha256
    assert [epoch.losses for epoch in done.curve] == [epoch.losses for epoch in made.curve]
