"""The rungs of runs side by side, on runs with round numbers."""

import json
from dataclasses import replace
from io import StringIO
from xml.etree import ElementTree

import pytest
from rich.console import Console

from secateur.comparisons import Run
from secateur.errors import SpecError
from secateur.ladders import Step, ladders
from secateur.reporting.ladders import FORMATS, _as_many, last_rungs, tables
from secateur.reporting.summary import report_dict
from secateur.results import RunReport
from tests.example_report import accuracy, detector, failed, finished


def steps(*reports: RunReport) -> list[Step]:
    (found,) = ladders([run(report) for report in reports])
    return list(found.steps)


def run(report: RunReport) -> Run:
    return Run(json.loads(json.dumps(report_dict(report))), report.id)


def ending_at(mask: float, name: str, **changes: object) -> RunReport:
    """A run whose last rung comes to this mask mAP."""
    *first, last = finished().rungs
    return replace(finished(), id=name, rungs=(*first, replace(last, tuned=accuracy(0.4, mask))), **changes)  # type: ignore[arg-type]


def test_a_rung_is_told_before_and_after_training() -> None:
    unpruned, first, *_ = steps(finished())

    assert (unpruned.rung, unpruned.mask_pruned, unpruned.mask_tuned, unpruned.macs) == (0, 0.351, 0.351, 6_360_000_000)
    assert (first.rung, first.target, first.reached, first.macs) == (1, 0.25, 0.251, 4_770_000_000)
    assert (first.box_pruned, first.box_tuned, first.mask_pruned, first.mask_tuned) == (0.300, 0.400, 0.240, 0.340)


def test_the_run_that_ends_most_accurate_stands_first_and_the_unpruned_net_once() -> None:
    told = steps(ending_at(0.2, "a"), ending_at(0.3, "b"))

    assert [step.rung for step in told] == [0, 1, 2, 3, 1, 2, 3]
    assert [step.run for step in told[1:]] == ["b"] * 3 + ["a"] * 3


def test_runs_are_told_apart_by_what_not_all_were_asked() -> None:
    told = steps(*(ending_at(0.2, n, command=f"secateur run +study=x schedule.steps={n}") for n in ("1", "3")))

    assert {step.asked for step in told[1:]} == {"schedule.steps=1", "schedule.steps=3"}


def test_runs_on_other_pictures_stand_in_a_table_of_their_own() -> None:
    other = replace(finished(), id="other", dataset={"data": "ef" * 32})

    assert len(ladders([run(finished()), run(other)])) == 2


def test_a_run_that_failed_after_a_rung_is_in_it_and_one_that_failed_before_is_not() -> None:
    late = replace(failed(), id="late", baseline=finished().baseline, baseline_footprint=finished().baseline_footprint,
                   rungs=finished().rungs[:1], spec=finished().spec)  # fmt: skip
    early = replace(finished(), id="early", rungs=())

    assert {step.run for step in steps(late, early)} == {"late"}
    with pytest.raises(SpecError, match="none of these runs has a rung"):
        ladders([run(early)])


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_tells_every_rung(form: str) -> None:
    told = FORMATS[form](ladders([run(replace(finished(), id="a|b"))]))

    for mask in ("0.24", "0.34", "0.15", "0.325", "0.05", "0.25"):
        assert mask in told


def test_markdown_tells_what_was_not_trained_once_and_what_was_refused() -> None:
    first, *_, last = finished().rungs
    untrained = replace(first, pruned=first.tuned)
    told = FORMATS["markdown"](ladders([run(replace(finished(), id="a|b", rungs=(untrained, last)))]))

    assert "| a\\|b |  | 1 | 25→25.1 % macs | 2.56 M | 4.77 G | 0.400 | 0.340 |" in told
    assert "0.050 → 0.250 (refused) |" in told


@pytest.mark.parametrize(("limit", "lines", "ends"), [(3, 3, "1 more: --limit 0"), (4, 4, ""), (0, 4, "")])
def test_the_terminal_tells_so_many_lines_and_how_many_more_there_are(limit: int, lines: int, ends: str) -> None:
    console = Console(width=200, record=True, file=StringIO())
    console.print(tables(ladders([run(finished())]), limit))
    told = console.export_text()

    assert sum(line.startswith(("unpruned", finished().id)) for line in told.splitlines()) == lines
    assert ends in told
    assert ("--limit" in told) is bool(ends)


@pytest.mark.parametrize(("limit", "lines"), [(7, 7), (6, 4), (4, 4), (3, 3)])
def test_no_ladder_but_the_first_breaks_off(limit: int, lines: int) -> None:
    (found,) = ladders([run(ending_at(0.2, "a")), run(ending_at(0.3, "b"))])

    assert _as_many(found, limit) == lines


def test_the_picture_has_a_bar_for_what_each_run_ends_at_the_most_accurate_first() -> None:
    (found,) = ladders([run(ending_at(0.2, "a")), run(ending_at(0.3, "b"))])
    drawn = ElementTree.fromstring(last_rungs(found))
    named = [text.text or "" for text in drawn.iter("{http://www.w3.org/2000/svg}text")]

    assert [name for name in named if "→" in name] == ["b  0.050 → 0.300", "a  0.050 → 0.200"]
    assert "mask mAP50-95 after the last rung" in named


def test_runs_that_are_named_alike_and_score_alike_have_a_bar_each() -> None:
    (found,) = ladders([run(ending_at(0.2, name)) for name in ("a", "b")])
    alike = replace(found, steps=tuple(replace(step, asked="imgsz=640") for step in found.steps))
    drawn = ElementTree.fromstring(last_rungs(alike))

    at = [text.get("transform") for text in drawn.iter("{http://www.w3.org/2000/svg}text") if "→" in (text.text or "")]
    assert len(at) == len(set(at)) == 2


def test_a_training_that_was_undone_is_marked_where_one_figure_stands() -> None:
    first, *others = finished().rungs
    undone = replace(first, tuned=first.pruned, undone=accuracy(0.290, 0.230))
    told = FORMATS["markdown"](ladders([run(replace(finished(), id="a", rungs=(undone, *others)))]))

    assert "| 0.300 | 0.240 (undone) |" in told
    assert told.count("(undone)") == 2  # and where it is explained


def test_each_run_is_drawn_before_its_own_unpruned_net() -> None:
    large = replace(ending_at(0.3, "large"), baseline=accuracy(0.6, 0.5))
    told = steps(ending_at(0.2, "small"), large)

    assert {step.run: step.unpruned for step in told if step.rung} == {"small": 0.351, "large": 0.5}


def test_a_detector_has_no_masks() -> None:
    told = FORMATS["markdown"](ladders([run(detector())]))

    assert told.count("| –") == 1 + len(detector().rungs)
