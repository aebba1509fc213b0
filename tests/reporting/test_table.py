from dataclasses import replace

import pytest
from rich.console import Console

from secateur.reporting.table import tables
from secateur.results import RunReport
from tests.example_report import FAULT, accuracy, detector, failed, finished, on_the_way, with_fault, without_changes


def piped(report: RunReport, width: int = 80) -> str:
    console = Console(width=width, force_terminal=False)
    with console.capture() as capture:
        console.print(tables(report))
    return capture.get()


@pytest.mark.parametrize("width", [80, 100])
def test_no_line_is_wrapped_within_a_table(width: int) -> None:
    lines = [line.split() for line in piped(finished(), width).splitlines()]

    assert [
        "2",
        "50→50.0",
        "%",
        "1.71",
        "M",
        "3.18",
        "G",
        "−50",
        "%",
        "0.210",
        "→",
        "0.380",
        "0.150",
        "→",
        "0.325",
    ] in lines
    assert ["pruned-fp32", "1.71", "M", "−50", "%", "0.380", "0.325", "7.0", "38.2", "1.54×", "(1.51–1.57)"] in lines


def test_nothing_but_text_goes_through_a_pipe() -> None:
    assert "\x1b" not in piped(finished())


def test_the_selected_candidate_is_marked() -> None:
    marked = [line for line in piped(finished()).splitlines() if line.startswith("▶")]

    assert marked[0].startswith("▶ pruned-int8_static")
    assert marked[-1] == "▶ pruned-int8_static: the fastest within 0.05 of the baseline's mask mAP"


def test_a_candidate_with_a_fault_is_marked_and_says_why() -> None:
    marked = [line for line in piped(with_fault(), 120).splitlines() if line.startswith("✗")]

    assert marked[0].startswith("✗ baseline-int8_static")
    assert marked[1] == f"✗ baseline-int8_static: {FAULT}"


def test_what_the_net_scored_before_the_first_rung_stands_below_the_baseline() -> None:
    lines = [line.split() for line in piped(on_the_way()).splitlines()]

    row = next(row for row, line in enumerate(lines) if line[:1] == ["baseline"])
    assert lines[row + 1 : row + 3] == [["sparse", "0.410", "0.350"], ["swapped", "0.300", "0.220"]]


def test_a_rejected_rung_says_so() -> None:
    assert [line.split()[0] for line in piped(finished()).splitlines() if line.endswith("rejected")] == ["3"]


@pytest.mark.parametrize(("number", "verdict"), [(0, "undone"), (2, "rejected, undone")])
def test_a_rung_whose_training_was_undone_says_so_and_what_that_scored(number: int, verdict: str) -> None:
    rungs = list(finished().rungs)
    rungs[number] = replace(rungs[number], undone=accuracy(0.290, 0.230))
    lines = piped(replace(finished(), rungs=tuple(rungs))).splitlines()

    assert [line for line in lines if line.endswith(f" {verdict}") and line[0].isdigit()] == [
        line for line in lines if line.startswith(f"{number + 1} ")
    ]
    assert f"rung {number + 1}: fine-tuning came to box 0.290, mask 0.230, measurably worse" in " ".join(lines)


def test_a_run_whose_unpruned_net_finds_nothing_says_that_its_accuracies_say_nothing() -> None:
    blind = replace(finished(), baseline=accuracy(0.012, 0.004))

    assert "finds next to nothing in the validation pictures (mAP50-95 0.004)" in piped(blind, 200)
    assert "finds next to nothing" not in piped(finished(), 200)


def test_a_detector_has_dashes_for_masks() -> None:
    lines = [line.split() for line in piped(detector()).splitlines()]

    assert ["baseline", "3.41", "M", "6.36", "G", "0.414", "–"] in lines
    assert ["baseline-fp32", "3.41", "M", "6.36", "G", "0.414", "–", "13.8", "58.9", "1×"] in lines


def test_changes_of_accuracy_have_their_intervals() -> None:
    lines = [line.split() for line in piped(finished()).splitlines()]

    assert "pruned-int8_static −0.043 (−0.052 to −0.034) −0.033 (−0.041 to −0.025)".split() in lines


def test_a_change_that_may_be_none_says_so() -> None:
    lines = [line.split() for line in piped(finished()).splitlines()]

    row = lines.index("baseline-int8_static −0.011 (−0.024 to +0.003) −0.011 (−0.024 to +0.003)".split())
    assert lines[row + 1] == ["no", "measurable", "difference"] * 2


def test_a_run_whose_accuracies_were_not_paired_shows_no_changes() -> None:
    assert "Change of mAP" not in piped(without_changes())


def test_a_failed_run_shows_how_far_it_came() -> None:
    text = piped(failed())

    assert text.startswith("The run failed: finetune: no space left on device")
    assert "Candidates" not in text
