"""Whether pruning was worth it, on runs with round numbers."""

import json
from dataclasses import replace

import pytest

from secateur.comparisons import Group, Run, compared
from secateur.offers import best, parse
from secateur.reporting.comparison import worth
from secateur.reporting.comparison_page import page
from secateur.reporting.summary import report_dict
from secateur.results import BASELINE, AccuracyChange, Candidate, Change, Interval, RunReport
from secateur.worth import Verdict, Weighed, weigh
from tests.example_report import detector, finished

PRUNED = "pruned-int8_static"  # 0.318 in 21.6 ms, against 0.351 in 58.9 ms


def weighed(*reports: RunReport, every: bool = True) -> Weighed | None:
    return weigh(group(*reports, every=every))


def group(*reports: RunReport, every: bool = True) -> Group:
    runs = [Run(json.loads(json.dumps(report_dict(each))), each.id) for each in reports]
    (found,) = compared(runs, every).groups
    return found


def run(name: str, importance: str, *files: Candidate) -> RunReport:
    """One with these files besides the unpruned FP32."""
    report = finished()
    unpruned = report.candidates[0]
    spec = report.spec | {"importance": {"name": importance}}
    return replace(report, id=name, spec=spec, candidates=(unpruned, *files), selected=files[-1].name)


def file(name: str, mask: float, speedup: float) -> Candidate:
    """A file whose mAP is known to 0.01 up and down, and its speed-up to 0.05."""
    made = next(c for c in finished().candidates if c.name.partition("-")[0] == name.partition("-")[0])
    loss = Change(mask - 0.351, mask - 0.361, mask - 0.341)
    known = Interval(speedup, speedup - 0.05, speedup + 0.05)
    return replace(
        made,
        name=name,
        quantization=name.partition("-")[2],
        model=replace(made.model, sha256=name),
        accuracy=replace(made.accuracy, mask_map50_95=mask),
        accuracy_change=AccuracyChange(loss, loss),
        latency=replace(made.latency, speedup=known),
    )


def test_a_pruned_file_that_beats_all_that_is_as_fast_was_worth_it() -> None:
    found = weighed(
        run("a", "magnitude", file("baseline-int8", 0.345, 1.5), file(PRUNED, 0.33, 2.5)),
        run("b", "random", file("pruned-int8", 0.25, 2.5)),
    )

    assert found
    assert found.verdict is Verdict.WORTH
    told = {rival.kind: (rival.as_fast, rival.is_beaten) for rival in found.rivals}
    assert told == {"int8 alone": (False, False), "channels at random": (True, True)}


def test_it_was_not_where_a_file_with_less_effort_is_as_fast_and_as_accurate() -> None:
    found = weighed(run("a", "magnitude", file("baseline-int8", 0.335, 2.5), file(PRUNED, 0.33, 2.5)))

    assert found
    assert found.verdict is Verdict.NOT_WORTH
    assert found.margin == pytest.approx(-0.005)


@pytest.mark.parametrize(("random", "verdict"), [(0.311, Verdict.NOT_WORTH), (0.309, Verdict.WORTH)])
def test_what_lies_within_both_intervals_is_not_told_apart(random: float, verdict: Verdict) -> None:
    found = weighed(
        run("a", "magnitude", file(PRUNED, 0.33, 2.5)), run("b", "random", file("pruned-int8", random, 2.5))
    )

    assert found
    assert found.verdict is verdict


@pytest.mark.parametrize(("speedup", "as_fast"), [(2.46, True), (2.44, False)])
def test_a_file_is_as_fast_unless_the_whole_of_its_interval_is_slower(speedup: float, as_fast: bool) -> None:
    found = weighed(run("a", "magnitude", file("baseline-int8", 0.34, speedup), file(PRUNED, 0.33, 2.5)))

    assert found
    assert [rival.as_fast for rival in found.rivals] == [as_fast]


def test_it_is_open_where_nothing_else_is_as_fast() -> None:
    found = weighed(run("a", "magnitude", file("baseline-int8", 0.34, 1.5), file(PRUNED, 0.05, 9.0)))

    assert found
    assert found.verdict is Verdict.OPEN


def test_the_file_is_told_that_stands_best() -> None:
    found = weighed(
        run("a", "magnitude", file("baseline-int8", 0.335, 2.5), file(PRUNED, 0.33, 2.5)),
        run("b", "magnitude", file("pruned-fp32", 0.10, 9.0)),
        run("c", "random", file("pruned-int8", 0.01, 9.0)),
    )

    assert found
    assert found.verdict is Verdict.WORTH
    assert found.pruned.file == "pruned-fp32"


def test_what_a_run_ships_goes_before_what_it_made_on_the_way() -> None:
    on_the_way = [file("baseline-int8", 0.335, 2.5), file("pruned-fp32", 0.36, 1.2)]
    found = weighed(run("a", "magnitude", *on_the_way, file(PRUNED, 0.33, 2.5)))

    assert found
    assert found.pruned.file == PRUNED


def test_a_smaller_picture_and_a_smaller_net_are_rivals() -> None:
    small = finished().candidates[0]
    small_picture = replace(
        small, latency=replace(small.latency, imgsz=320), model=replace(small.model, sha256="small")
    )
    fewer = replace(small, footprint=replace(small.footprint, params=1), model=replace(small.model, sha256="fewer"))
    shrunk = replace(finished(), id="b", candidates=(small_picture,), selected=BASELINE)
    nano = replace(finished(), id="c", candidates=(fewer,), selected=BASELINE)
    found = weighed(run("a", "magnitude", file(PRUNED, 0.33, 2.5)), shrunk, nano)

    assert found
    assert {rival.kind for rival in found.rivals} == {"a smaller picture", "a smaller net"}


def test_nothing_is_said_of_what_runs_ship_alone_nor_where_nothing_is_pruned() -> None:
    pruned = run("a", "magnitude", file("baseline-int8", 0.34, 1.5), file(PRUNED, 0.33, 2.5))

    assert weighed(pruned, every=False) is None
    assert weighed(run("a", "magnitude", file("baseline-int8", 0.34, 1.5))) is None
    assert weighed(run("a", "random", file(PRUNED, 0.33, 2.5))) is None


def test_it_is_told_in_a_sentence_with_the_figures() -> None:
    (told,) = worth(group(finished()))

    # by hand: the pruned INT8 file is the only one so fast
    assert told == (
        "Whether pruning was worth it is open: pruned-int8_static at 640 px with mAP 0.318 in 21.6 ms; nothing that "
        "costs less effort is as fast; not as fast: int8_static alone (baseline-int8_static at 640 px with mAP 0.339 "
        "in 35.9 ms)."
    )


def test_a_detector_is_weighed_by_its_boxes() -> None:
    found = weighed(detector())

    assert found
    assert found.pruned.accuracy == found.pruned.box_map50_95


def test_the_page_says_it_and_what_a_budget_offers() -> None:
    whole = compared([Run(json.loads(json.dumps(report_dict(finished()))), "a")], every=True)
    offers = {0: best(whole.groups[0], parse("speedup>=1.5"))}
    shown = page(whole, "Runs", "secateur compare", offers)

    assert f"<p>{worth(whole.groups[0])[0]}</p>" in shown
    assert "▶ Ship baseline-int8_static of 2026-11-22_16-00-00_demo: the most accurate of 3" in shown
    assert "▶ Ship" not in page(whole, "Runs", "secateur compare")
