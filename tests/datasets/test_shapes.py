import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from secateur.datasets.shapes import NAMES, Shapes, arrange, draw, visible_shares

FEW = Shapes(train=3, val=2, size=64)


def written(spec, out):
    spec.write(out, downloads=None)
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_two_processes_write_the_same_bits(tmp_path):
    code = "import sys, pathlib; from secateur.datasets.shapes import Shapes; "
    code += "Shapes(train=3, val=2, size=64).write(pathlib.Path(sys.argv[1]), downloads=None)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "other")], check=True, env=environment)

    other = tmp_path / "other"
    theirs = {path.relative_to(other).as_posix(): path.read_bytes() for path in other.rglob("*") if path.is_file()}
    assert theirs == written(FEW, tmp_path / "mine")


def test_a_picture_does_not_depend_on_how_many_are_drawn(tmp_path):
    few = written(FEW, tmp_path / "few")
    more = written(dataclasses.replace(FEW, train=4), tmp_path / "more")

    assert few.items() <= more.items()


def test_train_and_val_share_no_picture():
    assert draw(FEW, "train", 0)[1] != draw(FEW, "val", 0)[1]


def test_the_folder_is_laid_out_as_yolo_expects(tmp_path):
    files = written(FEW, tmp_path)

    images = [f"images/{split}/{i:06}.png" for split, n in (("train", 3), ("val", 2)) for i in range(n)]
    labels = [name.replace("images", "labels").replace("png", "txt") for name in images]
    assert sorted(files) == sorted(["data.yaml", *images, *labels])
    assert files["data.yaml"].decode().startswith("train: images/train\nval: images/val\nnames:\n  0: circle\n")
    assert Image.open(tmp_path / images[0]).size == (64, 64)


def test_labels_are_closed_outlines_inside_the_picture():
    for index in range(20):
        for line in draw(FEW, "train", index)[1]:
            kind, *values = line.split()
            corners = np.array(values, dtype=float).reshape(-1, 2)

            assert 0 <= int(kind) < len(NAMES)
            assert len(corners) >= 3
            assert corners.min() >= 0
            assert corners.max() <= 1


def test_every_class_is_drawn():
    kinds = {line.split()[0] for index in range(40) for line in draw(FEW, "train", index)[1]}

    assert kinds == {str(kind) for kind in range(len(NAMES))}


def inside(outline, size):
    """(size, size), even-odd rule at the pixels' centres."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    odd = np.zeros((size, size), dtype=bool)
    for (x0, y0), (x1, y1) in zip(outline, np.roll(outline, 1, axis=0), strict=True):
        with np.errstate(divide="ignore", invalid="ignore"):
            odd ^= ((y0 > y) != (y1 > y)) & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return odd


@pytest.mark.parametrize("seed", range(10))
def test_the_outline_encloses_the_painted_pixels(seed):
    ((shape, cover),) = arrange(Shapes(objects=1), np.random.default_rng(seed))

    painted, labelled = cover > 0.5, inside(shape.outline, Shapes.size)
    assert (painted & labelled).sum() / (painted | labelled).sum() > 0.96


def test_area_is_the_painted_share():
    ((shape, cover),) = arrange(Shapes(objects=1), np.random.default_rng(0))

    assert shape.area == pytest.approx(cover.mean(), rel=0.03)


def test_no_object_is_mostly_hidden():
    spec = Shapes(objects=8, visible=0.6)
    for seed in range(10):
        placed = arrange(spec, np.random.default_rng(seed))

        assert all(share >= 0.6 for share in visible_shares([cover for _, cover in placed]))


def test_visible_shares_by_hand():
    low, top = np.zeros((2, 2)), np.zeros((2, 2))
    low[0], top[0, 0] = 1, 1  # a row of two pixels, one of them hidden

    assert visible_shares([low, top]) == [0.5, 1.0]


def test_smaller_objects_lie_on_top():
    areas = [shape.area for shape, _ in arrange(Shapes(objects=8, smallest=0.2), np.random.default_rng(1))]

    assert len(areas) > 1
    assert areas == sorted(areas, reverse=True)


def test_the_digest_names_every_field_but_where_pictures_without_labels_are():
    changes = {"train": 4, "val": 3, "size": 96, "objects": 2, "smallest": 0.2, "largest": 0.5}
    changes |= {"visible": 0.8, "noise": 0.1, "seed": 1}

    digests = {dataclasses.replace(FEW, **{field: value}).digest(None) for field, value in changes.items()}
    assert set(changes) == {field.name for field in dataclasses.fields(Shapes)} - {"unlabelled"}
    assert dataclasses.replace(FEW, unlabelled="more").digest(None) == FEW.digest(None)
    assert len(digests | {FEW.digest(None)}) == len(changes) + 1


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"train": 0}, "train must be at least 1, got 0"),
        ({"size": 100}, "size must be a multiple of 32, got 100"),
        ({"smallest": 0.7}, "0 < smallest <= largest <= 1 must hold, got 0.7 and 0.6"),
        ({"visible": 0.0}, r"visible must be in \(0, 1\], got 0.0"),
        ({"noise": 1.0}, r"noise must be in \[0, 1\), got 1.0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
    ],
)
def test_wrong_fields_are_refused(fields, line):
    with pytest.raises(ValueError, match=line):
        Shapes(**fields)
