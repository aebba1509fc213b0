from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from secateur.errors import StoppedError
from secateur.reporting.summary import report_dict
from secateur.results import Footprint, Rung, RunReport, StageRecord
from secateur.rivals import DECIDES_SPEED, Rivals, Standing, are_alike, standings
from tests.example_report import accuracy, finished

SPEC: dict[str, Any] = {key: {"name": key} for key in DECIDES_SPEED} | {
    "schedule": {"name": "linear", "target": 0.5},
    "finetune": {"epochs": 1},
}
HALF, LESS, MORE = 3_180_000_000, 3_000_000_000, 3_400_000_000


def report(**changes: Any) -> dict[str, Any]:
    """Of example_report: its rungs reach 0.340, 0.325 and, refused, 0.25; pruned-int8_static ships with 0.318."""
    run = replace(finished(), spec=SPEC | changes.pop("spec", {}), selected="pruned-int8_static", **changes)
    return report_dict(run)


def rung(number: int, score: float, macs: int = HALF, accepted: bool = True) -> Rung:
    scores = accuracy(0.9, score)
    return Rung(number, 0.5, 0.5, Footprint(1_000_000, macs), scores, scores, accepted)


def evaluated(label: str, score: float) -> StageRecord:
    figures = {"box_map50_95": 0.9, "mask_map50_95": score}
    return StageRecord(
        "evaluate", 1, {}, "key", label, None, False, 1.0, 1.0, "2026-11-25T20:00:00+00:00", {}, {"accuracy": figures}
    )


def watching(*others: dict[str, Any], margin: float = 0.01) -> Rivals:
    return Rivals(SPEC, lambda: dict(enumerate(others)), margin)


# ---- who is ahead ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("macs", "score", "ahead"),
    [
        (100, 0.52, True),
        (100, 0.51, True),
        (100, 0.505, False),
        (100, 0.4, False),
        (50, 0.52, True),
        (101, 0.52, True),
        (102, 0.52, False),
    ],
)
def test_ahead_is_who_is_better_by_the_margin_with_no_more_macs(macs: int, score: float, ahead: bool) -> None:
    assert Standing(("net",), macs, score).is_ahead_of(Standing(("net",), 100, 0.5), margin=0.01) is ahead


def test_standings_of_two_stages_are_not_compared() -> None:
    assert not Standing(("rung", 1), 10, 0.9).is_ahead_of(Standing(("rung", 2), 100, 0.1), margin=0.01)


def test_a_finished_run_stood_at_each_rung_as_its_last_accepted_net_and_as_the_file_that_ships() -> None:
    found = list(standings(report()))

    assert [(s.stage[0], s.accuracy) for s in found] == [
        ("rung", 0.34), ("rung", 0.325), ("rung", 0.25), ("net", 0.325), ("file", 0.318),
    ]  # fmt: skip
    assert found[3].macs == found[4].macs == HALF


@pytest.mark.parametrize("selected", ["baseline-fp32", "baseline-int8_static", None])
def test_a_run_that_ships_no_pruned_net_is_ahead_of_none(selected: str | None) -> None:
    assert list(standings(report() | {"selected": selected})) == []


@pytest.mark.parametrize("key", DECIDES_SPEED)
def test_runs_that_differ_in_what_decides_their_speed_are_not_alike(key: str) -> None:
    assert are_alike(SPEC, SPEC | {"importance": "taylor", "seed": 3})
    assert not are_alike(SPEC, SPEC | {key: "another"})


# ---- when a trial is stopped ----------------------------------------------------------------------


def test_a_trial_that_is_behind_at_a_rung_is_stopped_and_says_why() -> None:
    with pytest.raises(StoppedError) as stop:
        watching(report()).rung_finished(rung(1, 0.30, macs=4_770_000_000))

    assert str(stop.value) == (
        "stopped early: after rung 1 it has mAP 0.300 at 4.770 G MACs, where trial 0 had mAP 0.340 at 4.770 G MACs; "
        "search.margin=null stops none"
    )


def test_it_is_told_who_is_the_furthest_ahead() -> None:
    better = report(rungs=(rung(1, 0.5),))

    with pytest.raises(StoppedError, match="where trial 1 had mAP 0.500"):
        watching(report(), better).rung_finished(rung(1, 0.30, macs=4_770_000_000))


def going_on() -> Iterator[tuple[str, Rivals, Rung]]:
    other_target = {"schedule": {"name": "linear", "target": 0.6}}
    yield "nearly as good", watching(report()), rung(2, 0.32)
    yield "with fewer MACs", watching(report()), rung(2, 0.1, macs=LESS)
    yield "the unpruned net", watching(report()), rung(0, 0.1)
    yield "refused, so that an earlier net ships", watching(report()), rung(2, 0.1, accepted=False)
    yield "at a rung of another schedule", watching(report(spec=other_target)), rung(2, 0.1)
    yield "at a rung with another recipe", watching(report(spec={"finetune": {"epochs": 9}})), rung(2, 0.1)
    yield "at another picture size", watching(report(spec={"imgsz": 96})), rung(2, 0.1)
    yield "alone", watching(), rung(2, 0.1)


@pytest.mark.parametrize(("rivals", "at"), [pytest.param(*case[1:], id=case[0]) for case in going_on()])
def test_others_go_on(rivals: Rivals, at: Rung) -> None:
    rivals.rung_finished(at)


def test_what_another_schedule_led_to_is_compared_once_no_further_rung_is_climbed() -> None:
    rivals = watching(report(spec={"schedule": {"name": "one_shot", "target": 0.5}}))
    rivals.rung_finished(rung(1, 0.9, macs=MORE))
    rivals.rung_finished(rung(2, 0.3))

    with pytest.raises(StoppedError, match=r"after its last rung it has mAP 0.300 .* where trial 0 had mAP 0.325 "):
        rivals.stage_started("export", "baseline")


def test_a_trial_whose_last_rung_was_refused_is_judged_by_the_net_before_it() -> None:
    rivals = watching(report())
    rivals.rung_finished(rung(2, 0.33))
    rivals.rung_finished(rung(3, 0.1, macs=LESS, accepted=False))

    rivals.stage_started("export", "baseline")


def test_a_trial_without_an_accepted_rung_goes_on() -> None:
    rivals = watching(report())
    rivals.rung_finished(rung(1, 0.1, accepted=False))

    rivals.stage_started("export", "baseline")


def test_a_file_that_lost_too_much_is_not_timed() -> None:
    rivals = watching(report())
    rivals.rung_finished(rung(2, 0.33))

    with pytest.raises(StoppedError, match="as pruned-int8_static it has mAP 0.250 .* where trial 0 had mAP 0.318 "):
        rivals.stage_finished(evaluated("pruned-int8_static", 0.25))


@pytest.mark.parametrize("label", ["pruned-fp32", "baseline-int8_static", "pruned", "tuned"])
def test_other_evaluations_are_not_compared(label: str) -> None:
    rivals = watching(report())
    rivals.rung_finished(rung(2, 0.33))

    rivals.stage_finished(evaluated(label, 0.01))


def test_a_detector_is_judged_by_its_boxes() -> None:
    boxes = accuracy(0.30, None)
    other = report()
    for at in other["rungs"]:
        at["tuned"]["mask_map50_95"] = None

    with pytest.raises(StoppedError, match="mAP 0.300 .* where trial 0 had mAP 0.380"):
        watching(other).rung_finished(Rung(2, 0.5, 0.5, Footprint(1, HALF), boxes, boxes, accepted=True))


def test_a_report_of_a_run_that_was_stopped_says_so() -> None:
    stopped = RunReport("s/3", "s", "stopped", 1.0, {}, {}, None, "secateur run", error="stopped early: …")

    assert report_dict(stopped)["headline"] == "The run was stopped: stopped early: …"
