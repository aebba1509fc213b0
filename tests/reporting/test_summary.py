import json
from dataclasses import replace
from pathlib import Path

import pytest

from secateur.reporting.summary import (
    change,
    decibels,
    flatten,
    headline,
    noise_share,
    points,
    quantized,
    report_dict,
)
from secateur.results import BASELINE, Artifact, Interval, RunReport
from tests.example_report import (
    FAULT,
    candidate,
    detector,
    failed,
    finished,
    on_the_way,
    with_fault,
    with_layers,
    without_changes,
)


def with_speedup(median: float, low: float, high: float) -> RunReport:
    """The example, its selected candidate that much faster."""
    report = finished()
    *others, chosen = report.candidates
    latency = replace(chosen.latency, speedup=Interval(median, low, high))
    return replace(report, candidates=(*others, replace(chosen, latency=latency)))


def test_the_headline_tells_cost_accuracy_and_speed() -> None:
    assert headline(finished()) == (
        "−50 % MACs, mask mAP 0.351 → 0.318 (−0.033, 95 % interval −0.041 to −0.025), "
        "2.7× faster than the unpruned FP32 (95 % interval 2.6–2.8) in onnxruntime with 2 threads: pruned-int8_static."
    )


def test_a_detectors_headline_speaks_of_boxes() -> None:
    assert "box mAP 0.414 → 0.371 (−0.043, 95 % interval −0.052 to −0.034)" in headline(detector())


def test_an_accuracy_whose_interval_holds_0_is_no_difference() -> None:
    text = headline(replace(finished(), selected="baseline-int8_static"))

    assert "mask mAP 0.351 → 0.339 (no measurable difference, 95 % interval −0.024 to +0.003)" in text


def test_accuracies_that_were_not_paired_have_no_interval() -> None:
    assert "mask mAP 0.351 → 0.318 (−0.033), 2.7×" in headline(without_changes())


def test_small_speed_ups_get_two_decimals() -> None:
    assert "1.09× faster than the unpruned FP32 (95 % interval 1.07–1.12)" in headline(with_speedup(1.09, 1.07, 1.12))


def test_an_interval_that_holds_1_is_no_difference() -> None:
    text = headline(with_speedup(1.03, 0.97, 1.08))

    assert "no measurable difference in speed to the unpruned FP32 (95 % interval 0.97–1.08)" in text
    assert "faster" not in text


def test_a_loss_of_speed_is_told_as_such() -> None:
    text = headline(with_speedup(0.54, 0.5, 0.6))  # 1 / 0.54 = 1.85, 1 / 0.6 = 1.67, 1 / 0.5 = 2

    assert "1.85× slower than the unpruned FP32 (95 % interval 1.67–2.00)" in text


def test_a_failed_run_is_told_by_its_error() -> None:
    assert headline(failed()) == "The run failed: finetune: no space left on device"


def test_keeping_the_baseline_is_no_success() -> None:
    report = replace(finished(), selected=BASELINE, why="nothing else stayed within 0.01")

    assert headline(report) == "The unpruned FP32 net was kept: nothing else stayed within 0.01"


def test_a_run_without_a_selection_says_why() -> None:
    assert headline(replace(finished(), selected=None, why="none fits")) == "Nothing was selected: none fits"


@pytest.mark.parametrize(("count", "text"), [(69, "−31 %"), (100, "±0 %"), (103, "+3 %")])
def test_changes_are_whole_percents(count: int, text: str) -> None:
    assert change(count, 100) == text


def test_points_are_the_difference_of_what_is_shown() -> None:
    assert points(0.4976, 0.5124) == "−0.014"  # 0.498 − 0.512, though the exact difference is −0.0148


def test_the_report_survives_json() -> None:
    summary = json.loads(json.dumps(report_dict(finished())))

    assert list(summary["run"]) == [
        "id", "name", "status", "seconds", "spec", "versions", "git", "command", "error",
    ]  # fmt: skip
    assert summary["baseline"]["macs"] == 6_360_000_000
    assert summary["baseline"]["mask_map50_95"] == 0.351
    assert summary["selected"] == "pruned-int8_static"
    assert summary["device"]["processor"] == "Intel Xeon 8481C"
    assert summary["dataset"]["val"] == 202


def test_scores_before_the_first_rung_are_told_by_what_was_done() -> None:
    told = report_dict(on_the_way())["before_pruning"]

    assert {name: scores["mask_map50_95"] for name, scores in told.items()} == {"sparse": 0.35, "swapped": 0.22}
    assert report_dict(finished())["before_pruning"] == {}


def test_rungs_tell_both_accuracies() -> None:
    rung = report_dict(finished())["rungs"][1]

    assert (rung["rung"], rung["target"], rung["params"], rung["accepted"]) == (2, 0.5, 1_705_000, True)
    assert rung["pruned"]["mask_map50_95"] == 0.150
    assert rung["tuned"]["box_map50_95"] == 0.380


def test_candidates_tell_what_was_measured_on_their_file() -> None:
    shipped = report_dict(finished())["candidates"][-1]

    assert shipped["file"] == "models/pruned-int8_static.onnx"
    assert shipped["size_bytes"] == 1_900_000
    assert set(shipped["latency_ms"]) == {"p50", "p90", "p95", "p99"}
    assert shipped["speedup"] == {"median": 2.73, "low": 2.65, "high": 2.8}


def test_candidates_tell_their_change_of_accuracy() -> None:
    unpruned, *_, shipped = report_dict(finished())["candidates"]

    assert shipped["box_map50_95_change"] == {"observed": -0.043, "low": -0.052, "high": -0.034}
    assert shipped["mask_map50_95_change"] == {"observed": -0.033, "low": -0.041, "high": -0.025}
    assert (unpruned["box_map50_95_change"], unpruned["mask_map50_95_change"]) == (None, None)
    assert report_dict(detector())["candidates"][-1]["mask_map50_95_change"] is None


def test_files_are_told_relative_to_the_runs_folder(tmp_path: Path) -> None:
    report = finished()
    inside, outside = (Artifact(tmp_path / place, "ab") for place in ("run/models/a.onnx", "store/b.onnx"))
    example = candidate(
        "x", report.candidates[0].footprint, report.candidates[0].accuracy, report.candidates[0].latency, 1
    )
    candidates = (replace(example, model=inside), replace(example, model=outside))

    summary = report_dict(replace(report, candidates=candidates), tmp_path / "run")

    assert [entry["file"] for entry in summary["candidates"]] == ["models/a.onnx", "../store/b.onnx"]


def test_nested_values_get_the_names_of_the_command_line() -> None:
    spec = {"name": "demo", "importance": {"name": "magnitude", "p": 2}, "dataset": {"shapes": [1, 2], "seed": None}}

    assert flatten(spec) == {
        "name": "demo",
        "importance": "magnitude",
        "importance.p": 2,
        "dataset.shapes": "[1, 2]",
        "dataset.seed": None,
    }


def test_a_fault_is_told_and_is_null_where_there_is_none() -> None:
    faults = {told["name"]: told["fault"] for told in report_dict(with_fault())["candidates"]}

    assert faults == {BASELINE: None, "baseline-int8_static": FAULT, "pruned-fp32": None, "pruned-int8_static": None}


def test_a_ratio_in_db_is_told_with_one_decimal_and_stands_for_a_share_of_the_amplitude() -> None:
    assert [decibels(value) for value in (38.249, -1.5, None)] == ["38.2", "−1.5", "–"]
    assert [noise_share(value) for value in (0.0, 20.0, 40.0, None)] == pytest.approx([1, 0.1, 0.01, 0])


def test_layers_are_told_of_the_selected_file_or_else_of_the_most_accurate_in_int8() -> None:
    def name(selected: str) -> str | None:
        found = quantized(replace(with_layers(), selected=selected))
        return found and found.name

    assert name("pruned-int8_static") == "pruned-int8_static"
    assert name("pruned-fp32") == "baseline-int8_static"
    assert quantized(finished()) is None


def test_the_report_holds_each_layers_noise() -> None:
    *_, chosen = json.loads(json.dumps(report_dict(with_layers())))["candidates"]

    assert chosen["layers"][3] == {
        "name": "model.22.cv3.0.2", "sqnr_db": 21.7, "own_sqnr_db": None, "kept_float": True,
    }  # fmt: skip


def test_the_report_tells_the_quantiles_of_a_latency_and_none_where_an_older_run_kept_none() -> None:
    first, *others = finished().candidates
    told = replace(first, latency=replace(first.latency, quantiles=(57.5, 58.9, 60.0)))

    found = report_dict(replace(finished(), candidates=(told, *others)))["candidates"]

    assert [candidate["latency_quantiles_ms"] for candidate in found[:2]] == [[57.5, 58.9, 60.0], []]
