"""Whether pruning was worth it, on runs with round numbers."""

import json
from dataclasses import replace

import pytest

from secateur.comparisons import Group, Run, compared
from secateur.offers import best, parse
from secateur.reporting.comparison import worth
from secateur.reporting.comparison_page import page
from secateur.reporting.summary import report_dict
from secateur.results import BASELINE, AccuracyChange, Candidate, Change, Footprint, Interval, RunReport
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
        model=replace(made.model, sha256=f"{name} {mask}"),
        accuracy=replace(made.accuracy, mask_map50_95=mask),
        accuracy_change=AccuracyChange(loss, loss),
        latency=replace(made.latency, speedup=known),
    )


def beaten(found: Weighed | None) -> dict[str, tuple[bool, bool]]:
    """(as fast, beaten) of each kind."""
    assert found
    return {rival.kind: (rival.as_fast, rival.is_beaten) for rival in found.rivals}


def test_a_pruned_file_that_beats_all_that_is_as_fast_was_worth_it() -> None:
    found = weighed(run("a", "magnitude", file("baseline-int8", 0.305, 2.5), file(PRUNED, 0.33, 2.5)))

    assert found
    assert found.verdict is Verdict.WORTH
    assert beaten(found) == {"int8 alone": (True, True), "the unpruned FP32": (False, False)}


def test_a_rival_counts_as_the_pruned_files_own_run_timed_it() -> None:
    found = weighed(
        run("a", "magnitude", file("baseline-int8", 0.335, 2.5), file(PRUNED, 0.33, 2.5)),
        run("b", "magnitude", file("baseline-int8", 0.335, 1.0), file(PRUNED, 0.2, 1.0)),
    )

    assert found
    assert found.pruned.run == "a"
    assert beaten(found)["int8 alone"] == (True, False)


def test_it_is_not_shown_where_a_file_with_less_effort_is_as_fast_and_as_accurate() -> None:
    found = weighed(run("a", "magnitude", file("baseline-int8", 0.335, 2.5), file(PRUNED, 0.33, 2.5)))

    assert found
    assert found.verdict is Verdict.NOT_SHOWN
    assert found.margin == pytest.approx(-0.005)


def test_a_pruned_file_that_is_slower_than_the_unpruned_was_not() -> None:
    found = weighed(run("a", "magnitude", file(PRUNED, 0.33, 0.9)))

    assert found
    assert found.verdict is Verdict.NOT_SHOWN


@pytest.mark.parametrize(("alone", "verdict"), [(0.311, Verdict.NOT_SHOWN), (0.309, Verdict.WORTH)])
def test_what_lies_within_both_intervals_is_not_told_apart(alone: float, verdict: Verdict) -> None:
    found = weighed(run("a", "magnitude", file("baseline-int8", alone, 2.5), file(PRUNED, 0.33, 2.5)))

    assert found
    assert found.verdict is verdict


@pytest.mark.parametrize(("speedup", "as_fast"), [(2.41, True), (2.39, False)])
def test_a_file_is_as_fast_unless_their_intervals_lie_apart(speedup: float, as_fast: bool) -> None:
    found = weighed(run("a", "magnitude", file("baseline-int8", 0.34, speedup), file(PRUNED, 0.33, 2.5)))

    assert beaten(found)["int8 alone"] == (as_fast, False)


def test_it_is_open_where_nothing_else_is_as_fast() -> None:
    found = weighed(run("a", "magnitude", file("baseline-int8", 0.34, 1.5), file(PRUNED, 0.05, 9.0)))

    assert found
    assert found.verdict is Verdict.OPEN


def test_the_file_is_told_that_stands_best() -> None:
    found = weighed(
        run("a", "magnitude", file("baseline-int8", 0.335, 2.5), file(PRUNED, 0.33, 2.5)),
        run("b", "magnitude", file("baseline-fp16", 0.01, 9.0), file(PRUNED, 0.10, 9.0)),
    )

    assert found
    assert found.verdict is Verdict.WORTH
    assert (found.pruned.run, found.of) == ("b", 2)


def test_what_a_run_ships_goes_before_what_it_made_on_the_way() -> None:
    on_the_way = [file("baseline-int8", 0.335, 2.5), file("pruned-fp32", 0.36, 1.2)]
    found = weighed(run("a", "magnitude", *on_the_way, file(PRUNED, 0.33, 2.5)))

    assert found
    assert found.pruned.file == PRUNED


def test_between_picture_sizes_and_between_nets_no_interval_is_known() -> None:
    full = finished().candidates[0]
    small = replace(full, accuracy=replace(full.accuracy, mask_map50_95=0.30))
    time = replace(small.latency, imgsz=320, speedup=Interval(1.0, 1.0, 1.0), ms=replace(small.latency.ms, p50=20.0))
    small_picture = replace(small, latency=time, model=replace(small.model, sha256="small"))
    fewer = replace(small, footprint=replace(small.footprint, params=1), model=replace(small.model, sha256="fewer"))
    shrunk = replace(finished(), id="b", candidates=(small_picture,), selected=BASELINE)
    nano = replace(finished(), id="c", candidates=(fewer,), selected=BASELINE)
    found = weighed(run("a", "magnitude", file(PRUNED, 0.33, 2.5)), shrunk, nano)

    assert found
    told = {rival.kind: rival.differs for rival in found.rivals}
    assert told == {"a smaller net": None, "a smaller picture": None, "the unpruned FP32": True}


def test_rivals_run_in_the_same_runtime_with_as_many_threads() -> None:
    other = file("baseline-int8", 0.40, 9.0)
    other = replace(other, latency=replace(other.latency, threads=4))
    found = weighed(run("a", "magnitude", other, file(PRUNED, 0.33, 2.5)))

    assert set(beaten(found)) == {"the unpruned FP32"}


@pytest.mark.parametrize(("random", "lose"), [(0.25, True), (0.325, False)])
def test_channels_at_random_say_what_the_criterion_is_worth_and_not_what_pruning_is(random: float, lose: bool) -> None:
    reports = (
        run("a", "magnitude", file("baseline-int8", 0.305, 2.5), file(PRUNED, 0.33, 2.5)),
        run("b", "random", file(PRUNED, random, 2.5)),
    )
    found = weighed(*reports)

    assert found
    assert found.at_random
    assert found.at_random.is_beaten is lose
    assert found.verdict is Verdict.WORTH
    told = "lose more than the chosen ones" if lose else "are not shown to be worse than the chosen ones"
    assert f"As many channels at random {told}: {PRUNED} at 640 px" in worth(group(*reports))[1]


def test_a_net_that_lost_more_at_random_is_no_measure_of_the_criterion() -> None:
    fewer = replace(file(PRUNED, 0.1, 2.5), footprint=Footprint(params=1, macs=1))
    found = weighed(run("a", "magnitude", file(PRUNED, 0.33, 2.5)), run("b", "random", fewer))

    assert found
    assert found.at_random is None


def test_nothing_is_said_of_what_runs_ship_alone_nor_where_nothing_is_pruned_by_a_criterion() -> None:
    pruned = run("a", "magnitude", file("baseline-int8", 0.34, 1.5), file(PRUNED, 0.33, 2.5))

    assert weighed(pruned, every=False) is None
    assert weighed(run("a", "magnitude", file("baseline-int8", 0.34, 1.5))) is None
    assert weighed(run("a", "random", file(PRUNED, 0.33, 2.5))) is None


def test_it_is_told_in_a_sentence_with_the_figures() -> None:
    # by hand: the pruned INT8 file is the only one so fast
    (told,) = worth(group(finished()))
    assert told == (
        "Whether pruning was worth it is open: pruned-int8_static at 640 px with mAP 0.318 in 21.6 ms; nothing that "
        "costs less effort is as fast; not as fast: int8_static alone (baseline-int8_static at 640 px with mAP 0.339 "
        "in 35.9 ms), the unpruned FP32 (baseline-fp32 at 640 px with mAP 0.351 in 58.9 ms)."
    )


def test_of_a_net_that_finds_nothing_nothing_is_weighed_and_that_is_told() -> None:
    report = finished()
    nothing = replace(report.candidates[0].accuracy, mask_map50_95=0.004)
    blind = replace(report, candidates=tuple(replace(file, accuracy=nothing) for file in report.candidates))

    (told,) = worth(group(blind))

    assert told.startswith("The unpruned net finds next to nothing in the validation pictures (mAP50-95 0.004), so ")


@pytest.mark.parametrize(("box", "verdict"), [(0.37, Verdict.NOT_SHOWN), (0.30, Verdict.WORTH)])
def test_a_detector_is_weighed_by_its_boxes(box: float, verdict: Verdict) -> None:
    report = detector()
    unpruned, alone, _, pruned = report.candidates
    loss = Change(box - 0.414, box - 0.424, box - 0.404)
    alone = replace(
        alone,
        accuracy=replace(alone.accuracy, box_map50_95=box),
        accuracy_change=AccuracyChange(loss, None),
        latency=pruned.latency,
    )
    found = weighed(replace(report, candidates=(unpruned, alone, pruned)))

    assert found
    assert found.verdict is verdict


def test_the_page_says_it_and_what_a_budget_offers() -> None:
    whole = compared([Run(json.loads(json.dumps(report_dict(finished()))), "a")], every=True)
    offers = {0: best(whole.groups[0], parse("speedup>=1.5"))}
    shown = page(whole, "Runs", "secateur compare", offers)

    assert f'<p class="told">{worth(whole.groups[0])[0]}</p>' in shown
    assert "<p>Ship baseline-int8_static of 2026-11-22_16-00-00_demo: the most accurate of 3" in shown
    assert "<p>Ship" not in page(whole, "Runs", "secateur compare")
