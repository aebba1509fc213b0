import itertools
from typing import Any

import pytest

from secateur.fronts import Point, front, points
from secateur.results import BASELINE


def file(name: str, accuracy: float, ms: float, speedup: float, **changes: Any) -> dict[str, Any]:
    return {
        "name": name, "sha256": "ab", "imgsz": 64, "batch": 1, "threads": 2, "box_map50_95": 0.9,
        "mask_map50_95": accuracy, "latency_ms": {"p50": ms}, "speedup": {"median": speedup},
    } | changes  # fmt: skip


def report(unpruned_ms: float, speedup: float, accuracy: float = 0.5, **changes: Any) -> dict[str, Any]:
    """A run whose pruned file ships."""
    pruned = file("pruned-fp32", accuracy, unpruned_ms / speedup, speedup, **changes)
    files = [file(BASELINE, 0.6, unpruned_ms, 1.0, **changes), pruned]
    return {"selected": "pruned-fp32", "candidates": files, "run": {"spec": {"runtime": {"name": "onnxruntime"}}}}


@pytest.mark.parametrize(
    ("one", "other", "dominates"),
    [
        ((0.5, 10.0), (0.4, 11.0), True),
        ((0.5, 10.0), (0.5, 11.0), True),
        ((0.5, 10.0), (0.4, 10.0), True),
        ((0.5, 10.0), (0.5, 10.0), False),
        ((0.5, 10.0), (0.6, 11.0), False),
        ((0.5, 10.0), (0.4, 9.0), False),
    ],
)
def test_who_dominates_is_nowhere_worse_and_somewhere_better(
    one: tuple[float, float], other: tuple[float, float], dominates: bool
) -> None:
    beaten = Point(1, *other)

    assert (beaten not in front([Point(0, *one), beaten])) is dominates


def test_the_front_is_what_no_other_dominates_whatever_the_order() -> None:
    fast, exact, between, beaten = Point(0, 0.2, 1.0), Point(1, 0.6, 9.0), Point(2, 0.4, 3.0), Point(3, 0.3, 3.5)

    for order in itertools.permutations([fast, exact, between, beaten]):
        assert front(order) == [fast, between, exact]


def test_equals_stand_side_by_side_on_the_front() -> None:
    assert front([Point(0, 0.4, 3.0), Point(1, 0.4, 3.0)]) == [Point(0, 0.4, 3.0), Point(1, 0.4, 3.0)]


def test_there_is_no_front_of_nothing() -> None:
    assert front([]) == []


def test_a_trials_time_is_its_speed_up_of_the_median_unpruned_time() -> None:
    # by hand: the unpruned nets took 10, 12 and 30 ms, 12 in the median; 12 / 2 = 6, 12 / 3 = 4, 12 / 1.5 = 8
    found = points({0: report(10, 2.0), 1: report(12, 3.0), 2: report(30, 1.5)})

    assert [point.latency_ms for point in found] == [6, 4, 8]


@pytest.mark.parametrize("change", [{"sha256": "cd"}, {"imgsz": 96}, {"threads": 1}])
def test_unpruned_times_of_two_settings_are_kept_apart(change: dict[str, Any]) -> None:
    found = points({0: report(10, 2.0), 1: report(40, 2.0, **change)})

    assert [point.latency_ms for point in found] == [5, 20]


def test_a_time_is_that_of_one_picture() -> None:
    (found,) = points({0: report(40, 2.0, batch=4)})

    assert found.latency_ms == 5


def test_an_accuracy_is_that_of_masks_or_of_a_detectors_boxes() -> None:
    segmenting, detecting = points({0: report(10, 2.0, 0.4), 1: report(10, 2.0, mask_map50_95=None)})

    assert segmenting.accuracy == 0.4
    assert detecting.accuracy == 0.9


def test_runs_that_ship_nothing_have_no_point() -> None:
    assert points({0: {"selected": None, "candidates": []}, 1: report(10, 2.0)}) == points({1: report(10, 2.0)})
