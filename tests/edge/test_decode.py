import numpy as np
import pytest
import torch
from ultralytics.utils.nms import non_max_suppression

from secateur.edge.decode import Candidates, Choice, decode, suppress


def crowded(anchors: int, classes: int, seed: int) -> np.ndarray:
    """(1, 4 + classes + 3, anchors): boxes heaped around few places."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(50, 590, (12, 2))[rng.integers(12, size=anchors)]
    sides = rng.uniform(30, 120, (anchors, 2))
    rows = [places + rng.normal(0, 8, (anchors, 2)), sides, rng.random((anchors, classes)) ** 4]
    return np.concatenate([*rows, rng.normal(size=(anchors, 3))], axis=1).T[None].astype(np.float32)


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("classes", [1, 5])
@pytest.mark.parametrize(("confidence", "iou"), [(0.25, 0.7), (0.001, 0.7), (0.5, 0.3)])
def test_it_keeps_what_ultralytics_suppression_keeps(
    confidence: float, iou: float, classes: int, multi_label: bool
) -> None:
    rows, prototypes = crowded(700, classes, 0), np.zeros((1, 3, 4, 4), np.float32)
    theirs = non_max_suppression(torch.from_numpy(rows), confidence, iou, nc=classes, multi_label=multi_label)[0]

    ours, _ = decode([rows, prototypes], classes, Choice(confidence, iou, multi_label=multi_label))

    np.testing.assert_array_equal(ours.boxes, theirs[:, :4].numpy())
    np.testing.assert_array_equal(ours.scores, theirs[:, 4].numpy())
    np.testing.assert_array_equal(ours.labels, theirs[:, 5].numpy())
    np.testing.assert_array_equal(ours.coefficients, theirs[:, 6:].numpy())


def test_rows_of_a_head_that_suppresses_boxes_itself_are_only_filtered() -> None:
    rows = np.zeros((1, 300, 6), np.float32)
    rows[0, :3] = [[1, 2, 3, 4, 0.9, 1], [1, 2, 3, 4, 0.8, 1], [5, 6, 7, 8, 0.1, 0]]

    found, prototypes = decode([rows], 2, Choice())

    assert prototypes is None
    assert found.scores.tolist() == [pytest.approx(0.9), pytest.approx(0.8)]
    assert found.boxes.tolist() == [[1, 2, 3, 4]] * 2


def test_no_more_are_kept_than_asked_for() -> None:
    assert len(decode([crowded(700, 5, 1)], 8, Choice(0.001, max_det=7))[0].scores) == 7


def test_nothing_sure_enough_is_nothing() -> None:
    found, _ = decode([np.zeros((1, 9, 50), np.float32)], 5, Choice())

    assert found.boxes.shape == (0, 4)
    assert found.coefficients.shape == (0, 0)


def test_of_equal_boxes_the_surest_stays_and_boxes_without_area_do_not_count_as_overlapping() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [3, 3, 3, 3], [3, 3, 3, 3]], np.float32)
    scores = np.array([0.5, 0.9, 0.4, 0.3], np.float32)

    kept = suppress(Candidates(boxes, scores, np.zeros(4, np.int32), np.zeros((4, 0), np.float32)), Choice())

    assert kept.scores.tolist() == [pytest.approx(score) for score in (0.9, 0.4, 0.3)]


@pytest.mark.parametrize("changes", [{"confidence": 1.5}, {"iou": -0.1}, {"max_det": 0}])
def test_a_value_out_of_range_is_told(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=rf"{next(iter(changes))} must be .*got"):
        Choice(**changes)  # type: ignore[arg-type]


def test_boxes_that_are_no_numbers_do_not_count() -> None:
    rows = np.array([[8, 8, 4, 4, 0.9], [np.nan, 8, 4, 4, 0.8], [8, np.inf, 4, 4, 0.7]], np.float32).T

    found, _ = decode([rows[None]], 1, Choice())

    assert found.scores.tolist() == pytest.approx([0.9])
