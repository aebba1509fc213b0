from dataclasses import replace

import pytest

from secateur.results import BASELINE, Candidate, Rung
from secateur.selection import drop, refusal, select
from tests.example_report import FULL, accuracy, candidate, latency

UNPRUNED = candidate(BASELINE, FULL, accuracy(0.5, 0.40), latency(60.0, 1.0, 1.0, 1.0), 1)


def option(name: str, mask: float, speedup: float, low: float | None = None) -> Candidate:
    """`low`: the interval's lower end, by default just below the median."""
    time = latency(60 / speedup, speedup, speedup - 0.01 if low is None else low, speedup + 0.01)
    return candidate(name, FULL, accuracy(0.5, mask), time, 1)


def test_without_a_limit_the_fastest_ships() -> None:
    chosen = select([UNPRUNED, option("a", 0.39, 1.5), option("b", 0.10, 2.5), option("c", 0.38, 2.0)], None)

    assert chosen == ("b", "the fastest of 4 candidates")


def test_with_a_limit_the_fastest_inside_it_ships() -> None:
    chosen = select([UNPRUNED, option("a", 0.39, 1.5), option("b", 0.10, 2.5), option("c", 0.38, 2.0)], 0.03)

    assert chosen == ("c", "the fastest of 4 candidates inside max_map_drop=0.03")


def test_others_that_may_be_as_fast_are_told() -> None:
    chosen = select([UNPRUNED, option("a", 0.39, 1.5), option("b", 0.10, 2.0), option("c", 0.38, 2.01, low=1.9)], None)

    assert chosen == ("c", "the fastest of 4 candidates; its interval overlaps that of b")


def test_a_loss_as_large_as_the_limit_is_inside_it() -> None:
    half_lost = option("a", 0.25, 2.0)

    assert select([replace(UNPRUNED, accuracy=accuracy(0.5, 0.5)), half_lost], 0.25)[0] == "a"


def test_a_candidate_that_may_be_no_faster_does_not_ship() -> None:
    chosen = select([UNPRUNED, option("a", 0.40, 1.05, low=0.98), option("b", 0.40, 0.9)], None)

    assert chosen == (BASELINE, "no candidate is measurably faster than the unpruned FP32 baseline")


def test_a_candidate_with_a_fault_never_ships_and_is_told() -> None:
    broken = replace(option("b", 0.40, 2.5), fault="output0 is constant")

    chosen = select([UNPRUNED, option("a", 0.39, 1.5), broken], None)

    assert chosen == ("a", "the fastest of 3 candidates; b is refused: output0 is constant")


def test_where_all_faster_ones_have_a_fault_the_baseline_is_kept() -> None:
    chosen = select([UNPRUNED, replace(option("b", 0.40, 2.5), fault="output0 is constant")], 0.02)

    assert chosen == (
        BASELINE,
        "no candidate is measurably faster than the unpruned FP32 baseline; b is refused: output0 is constant",
    )


def test_a_baseline_with_a_fault_is_not_called_refused_where_it_is_all_that_is_left() -> None:
    chosen = select([replace(UNPRUNED, fault="output0 is constant")], None)

    assert chosen[0] == BASELINE
    assert chosen[1].endswith(
        "; baseline-fp32 is of no use itself, so that no change to it says much: output0 is constant"
    )


def test_the_baseline_alone_ships() -> None:
    assert select([UNPRUNED], 0.02)[0] == BASELINE


def test_where_all_faster_ones_lose_too_much_the_nearest_is_named() -> None:
    chosen = select([UNPRUNED, option("a", 0.30, 1.5), option("b", 0.35, 1.2), option("c", 0.39, 0.9)], 0.02)

    assert chosen == (
        BASELINE,
        "no faster candidate keeps within max_map_drop=0.02; the nearest, b, loses 0.050",
    )


def test_a_candidate_that_scores_higher_has_a_negative_drop() -> None:
    assert drop(option("a", 0.45, 1.5), UNPRUNED) == pytest.approx(-0.05)


def test_a_net_without_masks_is_judged_by_its_boxes() -> None:
    boxes = [
        replace(c, accuracy=accuracy(box, None))
        for c, box in ((UNPRUNED, 0.50), (option("a", 0.0, 1.5), 0.49), (option("b", 0.0, 2.0), 0.40))
    ]

    assert select(boxes, 0.05)[0] == "a"


def test_the_order_of_the_candidates_does_not_matter() -> None:
    candidates = [UNPRUNED, option("a", 0.39, 1.5), option("b", 0.38, 2.0)]

    assert select(candidates, 0.05) == select(candidates[::-1], 0.05)


def test_a_refusal_names_the_rung_that_came_nearest() -> None:
    rungs = [Rung(n, n / 10, n / 10, FULL, accuracy(0, 0), accuracy(0.4, mask), accepted=False) for n, mask in
             ((1, 0.30), (2, 0.33))]  # fmt: skip

    line = refusal(rungs, accuracy(0.5, 0.40), 0.05)

    assert line == "no rung kept within max_map_drop=0.05; the nearest, rung 2, loses 0.070"
