import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from secateur.comparisons import Comparison, Run, compared, runs_in
from secateur.errors import SpecError
from secateur.reporting.summary import report_dict
from secateur.results import BASELINE, Interval, RunReport
from tests.example_report import failed, finished, with_fault


def run(report: RunReport, place: str = "a") -> Run:
    return Run(json.loads(json.dumps(report_dict(report))), place)


def at(report: RunReport, **changes: Any) -> RunReport:
    """With all of its files measured at another setting."""
    files = (replace(c, latency=replace(c.latency, **changes)) for c in report.candidates)
    return replace(report, candidates=tuple(files))


def files(found: Comparison) -> list[str]:
    (group,) = found.groups
    return [entry.file for entry in group.entries]


def test_each_run_is_told_by_what_it_ships_and_the_unpruned_once() -> None:
    found = compared([run(finished(), "a"), run(replace(finished(), id="other"), "b")])

    assert files(found) == ["pruned-int8_static", "pruned-int8_static", BASELINE]


def test_all_files_are_told_once_each_however_many_runs_share_them() -> None:
    found = compared([run(finished(), "a"), run(replace(finished(), id="other"), "b")], every=True)

    assert sorted(files(found)) == sorted(c.name for c in finished().candidates)


def test_what_was_timed_several_times_is_told_with_its_median_speed_up() -> None:
    runs = []
    for place, speedup in {"a": 2.0, "b": 4.0, "c": 3.0}.items():
        runs.append(run(replace(at(finished(), speedup=Interval(speedup, speedup, speedup)), id=place), place))

    (group,) = compared(runs, every=True).groups

    assert {entry.speedup.median for entry in group.entries} == {3.0}


def test_runs_of_other_devices_data_or_evaluators_are_in_groups_of_their_own() -> None:
    here = finished()
    assert here.fingerprint
    there = replace(here, fingerprint=replace(here.fingerprint, cores=4))
    other_data = replace(here, dataset={"data": "ef" * 32})
    scored = (replace(c, accuracy=replace(c.accuracy, evaluator="other")) for c in here.candidates)
    others = [there, other_data, replace(here, candidates=tuple(scored))]

    found = compared([run(report, str(number)) for number, report in enumerate([here, *others])])

    assert len(found.groups) == 4
    assert all(len(group.entries) == 2 for group in found.groups)


def test_a_run_that_failed_is_told_with_its_reason() -> None:
    found = compared([run(failed())])

    assert not found.groups
    assert found.endings == {failed().id: ("failed", "finetune: no space left on device")}


def test_a_faulty_file_is_told_and_not_ranked() -> None:
    (group,) = compared([run(with_fault())], every=True).groups

    assert group.entries[-1].file == "baseline-int8_static"
    assert "baseline-int8_static" not in {entry.file for entry in group.front}


@pytest.mark.parametrize("at_fault", ["box_map50_95", "mask_map50_95"])
def test_what_is_not_a_number_is_told_and_not_ranked(at_fault: str) -> None:
    broken = run(finished())
    file = next(c for c in broken.report["candidates"] if c["name"] == "pruned-int8_static")
    file[at_fault] = float("nan")

    (group,) = compared([broken]).groups

    assert group.entries[-1].problem == "a metric is not a number"
    assert [entry.file for entry in group.front] == [BASELINE]


def test_the_reference_is_the_most_accurate_of_the_unpruned() -> None:
    small = at(finished(), imgsz=320)
    worse = (replace(c, accuracy=replace(c.accuracy, mask_map50_95=0.2)) for c in small.candidates)

    (group,) = compared([run(replace(small, candidates=tuple(worse)), "a"), run(finished(), "b")]).groups

    assert group.reference
    assert group.reference.imgsz == 640


def test_a_picture_of_a_batch_takes_its_share_of_the_time() -> None:
    (group,) = compared([run(at(finished(), batch=4))]).groups

    assert group.entries[0].p50_ms == pytest.approx(21.6 / 4)


def test_a_run_is_found_once_though_latest_points_to_it_too(tmp_path: Path) -> None:
    write(finished(), tmp_path / "runs" / "a")
    (tmp_path / "latest").symlink_to("runs/a")

    assert len(runs_in([tmp_path])) == 1
    assert len(runs_in([tmp_path / "latest"])) == 1


def test_mlflows_copies_are_no_runs(tmp_path: Path) -> None:
    write(finished(), tmp_path / "mlflow-artifacts" / "1" / "artifacts")

    with pytest.raises(SpecError, match="no finished run below"):
        runs_in([tmp_path])


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}', "7"])
def test_a_damaged_report_hides_no_other(content: str, tmp_path: Path) -> None:
    write(finished(), tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "report.json").write_text(content)

    found = compared(runs_in([tmp_path]))

    assert len(found.groups) == 1
    assert found.endings["b"][0] == "damaged"
    assert "\n" not in found.endings["b"][1]


@pytest.mark.slow
def test_ten_thousand_runs_are_compared_within_seconds(tmp_path: Path) -> None:
    for number in range(10_000):
        write(replace(finished(), id=str(number)), tmp_path / str(number))

    started = time.process_time()
    found = compared(runs_in([tmp_path]))
    seconds = time.process_time() - started

    assert len(found.groups[0].entries) == 10_001
    assert seconds < 30


def write(report: RunReport, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(report_dict(report, folder)))
