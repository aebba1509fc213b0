from pathlib import Path
from typing import Any

import numpy as np
import pytest

from secateur.datasets.shapes import Shapes
from secateur.edge.letterbox import letterbox, read_picture
from secateur.ports import Tools
from secateur.quantizers.fp32 import Fp32
from secateur.quantizers.int8_static import Int8Static
from secateur.results import Artifact
from secateur.stages import quantize
from secateur.store import artifact

TRAIN = 6


@pytest.fixture
def tools() -> Tools:
    without_nets: Any = {"detector": None, "pruner": None, "downloads": None}
    return Tools(**without_nets, progress=lambda done, total: None)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp("data")
    nowhere: Any = None
    Shapes(train=TRAIN, val=2, size=64).write(folder, nowhere)
    return artifact(folder)


def drawn(data: Artifact, tools: Tools, images: int, seed: int) -> list[int]:
    """Numbers of the training pictures that calibration sees, as they come."""
    inputs = quantize.Inputs(Artifact(Path("net.onnx"), ""), Int8Static(images=images), 96, data, seed)
    pictures = {
        letterbox(read_picture(path), 96).tobytes(): int(path.stem) for path in (data.path / "images/train").iterdir()
    }
    return [pictures[image.tobytes()] for image in quantize._calibration(inputs, tools)]


def test_calibration_sees_training_pictures_as_the_net_does(data: Artifact, tools: Tools) -> None:
    seen = drawn(data, tools, images=3, seed=0)

    assert len(set(seen)) == 3


def test_the_seed_says_which_pictures(data: Artifact, tools: Tools) -> None:
    seeds = [drawn(data, tools, images=3, seed=seed) for seed in range(5)]

    assert drawn(data, tools, images=3, seed=0) == seeds[0]
    assert len({tuple(seen) for seen in seeds}) > 1


def test_no_more_pictures_are_taken_than_there_are(data: Artifact, tools: Tools) -> None:
    assert sorted(drawn(data, tools, images=64, seed=0)) == list(range(TRAIN))


def test_a_picture_comes_as_one_batch_of_fractions(data: Artifact, tools: Tools) -> None:
    inputs = quantize.Inputs(Artifact(Path("net.onnx"), ""), Int8Static(images=1), 96, data, 0)
    (image,) = quantize._calibration(inputs, tools)

    assert image.shape == (1, 3, 96, 96)
    assert image.dtype == np.float32
    assert 0 <= image.min() < image.max() <= 1


def test_fp32_ships_the_exported_file_as_it_is(tools: Tools, tmp_path: Path) -> None:
    (tmp_path / "exported.onnx").write_bytes(b"a net")
    (tmp_path / "out").mkdir()
    exported = artifact(tmp_path / "exported.onnx")

    made = quantize.run(quantize.Inputs(exported, Fp32(), 64), tools, tmp_path / "out")
    assert made.model.path.parent == tmp_path / "out"
    assert made.model.sha256 == exported.sha256
