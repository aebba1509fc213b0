from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from secateur.matches import Matches, read

MASKS = np.eye(3, 10, dtype=bool)
THREE = Matches(
    images=4,
    image=np.array([0, 0, 3], np.int32),
    confidence=np.array([0.9, 0.5, 0.7], np.float32),
    label=np.array([1, 0, 1], np.int32),
    box=~MASKS,
    mask=MASKS,
    object_image=np.array([0, 2], np.int32),
    object_label=np.array([1, 1], np.int32),
)


@pytest.mark.parametrize("matches", [THREE, replace(THREE, mask=None)], ids=["masks", "boxes"])
def test_matches_survive_their_file(matches: Matches, tmp_path: Path) -> None:
    matches.write(tmp_path / "matches.npz")

    back = read(tmp_path / "matches.npz")
    assert all(np.array_equal(getattr(back, f.name), getattr(matches, f.name)) for f in fields(Matches))
    assert back.confidence.dtype == np.float32


def test_the_same_matches_give_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        THREE.write(tmp_path / name)

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_order_of_a_pictures_objects_does_not_matter() -> None:
    two, swapped = (
        replace(THREE, object_image=np.array([0, 0], np.int32), object_label=np.array(labels, np.int32))
        for labels in ([1, 2], [2, 1])
    )

    assert two.same_objects(swapped)


@pytest.mark.parametrize(
    "other",
    [
        replace(THREE, images=5),
        replace(THREE, object_image=np.array([0, 3], np.int32)),
        replace(THREE, object_label=np.array([1, 0], np.int32)),
    ],
    ids=["more pictures", "another picture", "another label"],
)
def test_other_pictures_are_told_apart(other: Matches) -> None:
    assert not THREE.same_objects(other)
    assert THREE.same_objects(replace(THREE, box=MASKS))
