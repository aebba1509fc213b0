from pathlib import Path
from typing import Any

import numpy as np
import pytest

from secateur.calibration import few_pictures, training_pictures
from secateur.datasets.shapes import Shapes
from secateur.edge.letterbox import letterbox, read_picture
from tests.conftest import no_progress

TRAIN = 6


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    nowhere: Any = None
    Shapes(train=TRAIN, val=2, size=64).write(folder, nowhere)
    return folder


def drawn(data: Path, images: int, seed: int) -> list[int]:
    """Numbers of the training pictures that are seen, as they come."""
    pictures = {
        letterbox(read_picture(path), 96).tobytes(): int(path.stem) for path in (data / "images/train").iterdir()
    }
    return [pictures[image.tobytes()] for image in training_pictures(data, 96, images, seed, no_progress)]


def test_training_pictures_are_seen_as_the_net_sees_them(data: Path) -> None:
    assert len(set(drawn(data, images=3, seed=0))) == 3


def test_the_seed_says_which_pictures(data: Path) -> None:
    seeds = [drawn(data, images=3, seed=seed) for seed in range(5)]

    assert drawn(data, images=3, seed=0) == seeds[0]
    assert len({tuple(seen) for seen in seeds}) > 1


def test_no_more_pictures_are_taken_than_there_are(data: Path) -> None:
    assert sorted(drawn(data, images=64, seed=0)) == list(range(TRAIN))


def test_a_picture_comes_as_one_batch_of_fractions(data: Path) -> None:
    (image,) = training_pictures(data, 96, 1, 0, no_progress)

    assert image.shape == (1, 3, 96, 96)
    assert image.dtype == np.float32
    assert 0 <= image.min() < image.max() <= 1


def test_few_pictures_to_score_on_are_training_pictures_with_their_labels(data: Path, tmp_path: Path) -> None:
    few = few_pictures(data, 4, 0, tmp_path / "few")

    train = {path.resolve() for path in (data / "images" / "train").iterdir()}
    seen = [path.resolve() for path in (few.parent / "images" / "val").iterdir()]
    assert len(seen) == 4
    assert set(seen) <= train
    assert len(list((few.parent / "labels" / "val").iterdir())) == 4
