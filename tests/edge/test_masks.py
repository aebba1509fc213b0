import numpy as np
import pytest
import torch
from ultralytics.utils.ops import process_mask_native

from secateur.edge.masks import masks

SIZES = [(480, 640), (427, 640), (640, 359), (100, 100), (333, 500), (1080, 1920), (7, 300)]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_they_are_those_of_ultralytics_in_the_pictures_pixels(height: int, width: int) -> None:
    rng = np.random.default_rng(0)
    prototypes = np.kron(rng.normal(size=(8, 20, 20)), np.ones((8, 8))).astype(np.float32)
    coefficients = rng.normal(size=(6, 8)).astype(np.float32)
    corners = rng.random((6, 2, 2)) * (width, height)
    boxes = np.concatenate([corners.min(1), corners.max(1)], axis=1).astype(np.float32)

    theirs = process_mask_native(*(torch.from_numpy(x) for x in (prototypes, coefficients, boxes)), (height, width))
    ours, seen = masks(prototypes, coefficients, boxes, height, width)

    there = theirs.numpy() > 0
    assert seen.tolist() == np.flatnonzero(there.any((1, 2))).tolist()
    assert (ours != there[seen]).mean() < 1e-5  # where a logit is zero but for its last digit


def test_a_box_without_pixels_has_no_mask() -> None:
    boxes = np.array([[3.2, 3.2, 3.4, 9.0], [0, 0, 8, 8], [3, 16, 9, 5]], np.float32)

    found, seen = masks(np.ones((1, 4, 4), np.float32), np.ones((3, 1), np.float32), boxes, 16, 16)

    assert seen.tolist() == [1]
    assert found.sum() == 64
