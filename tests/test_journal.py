import json
from dataclasses import replace
from pathlib import Path

import pytest

from secateur.journal import Journal
from secateur.reporting.summary import report_dict
from secateur.results import RunReport, StageRecord
from secateur.store import artifact
from tests.conftest import files_no_larger_than
from tests.example_report import failed, finished, with_samples

MOMENT = "2026-11-22T16:00:10+00:00"


def record(stage: str, rung: int | None = None) -> StageRecord:
    return StageRecord(stage, 1, {}, "key", "label", rung, False, 1.5, 1.5, MOMENT, {"imgsz": 64}, {"weights": "abc"})


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]


@pytest.fixture
def report(tmp_path: Path) -> RunReport:
    """A finished run whose models lie in a store."""
    (tmp_path / "store").mkdir()
    kept = []
    for candidate in finished().candidates:
        path = tmp_path / "store" / f"{candidate.name}-in-store"
        path.write_text(candidate.name * 1000)
        kept.append(replace(candidate, model=artifact(path)))
    return replace(finished(), candidates=tuple(kept))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


def test_each_record_is_a_line_that_is_there_before_the_next_stage(folder: Path) -> None:
    journal = Journal(folder)

    for number, stage in enumerate(("prepare", "baseline", "prune"), start=1):
        journal.stage_finished(record(stage))
        assert [line["stage"] for line in lines(folder)] == ["prepare", "baseline", "prune"][:number]


def test_a_line_says_all_that_the_record_does(folder: Path) -> None:
    Journal(folder).stage_finished(record("prune", rung=2))

    assert lines(folder) == [
        {"stage": "prune", "version": 1, "libraries": {}, "key": "key", "label": "label", "rung": 2,
         "reused": False, "seconds": 1.5, "made_in_seconds": 1.5, "finished": MOMENT,
         "inputs": {"imgsz": 64}, "outputs": {"weights": "abc"}}
    ]  # fmt: skip


def test_a_finished_run_is_told_for_machines_and_for_people(folder: Path) -> None:
    Journal(folder).run_finished(finished())

    told = json.loads((folder / "report.json").read_text())
    assert told == json.loads(json.dumps(report_dict(finished(), folder)))
    assert "</html>" in (folder / "report.html").read_text()
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "report.json"]


def test_a_failed_run_is_told_too(folder: Path) -> None:
    Journal(folder).run_finished(failed())

    told = json.loads((folder / "report.json").read_text())["run"]
    assert (told["status"], told["error"]) == ("failed", "finetune: no space left on device")


def test_a_failed_run_tells_the_rungs_that_it_had_reached(folder: Path) -> None:
    journal, reached = Journal(folder), finished().rungs[0]
    unpruned = replace(reached, rung=0)

    journal.rung_finished(unpruned)
    journal.rung_finished(reached)

    told = journal.with_rungs(failed())
    assert told.status == "failed"
    assert (told.baseline, told.baseline_footprint) == (unpruned.tuned, unpruned.footprint)
    assert told.rungs == (reached,)


def test_a_failed_run_tells_the_data_that_it_was_about(folder: Path) -> None:
    journal, outputs = Journal(folder), {"kind": "Outputs@3", "data": "ef" * 32, "train_images": 3}

    journal.stage_finished(StageRecord("prepare", 3, {}, "ab", "data", None, False, 1.0, 1.0, "now", {}, outputs))
    journal.rung_finished(finished().rungs[0])

    assert journal.with_rungs(replace(failed(), dataset=None)).dataset == {"data": "ef" * 32, "train_images": 3}


def test_the_candidates_files_come_into_the_runs_folder(folder: Path, report: RunReport) -> None:
    kept = Journal(folder).with_models(report)

    for before, after in zip(report.candidates, kept.candidates, strict=True):
        assert after.model.path == folder / "models" / f"{before.name}.onnx"
        assert artifact(after.model.path).sha256 == before.model.sha256
        assert before.model.path.exists()
    assert len(list((folder / "models").iterdir())) == len(report.candidates)


def test_the_report_names_the_files_from_the_runs_folder(folder: Path, report: RunReport) -> None:
    journal = Journal(folder)
    journal.run_finished(journal.with_models(report))

    told = json.loads((folder / "report.json").read_text())["candidates"]
    assert [candidate["file"] for candidate in told] == [f"models/{c.name}.onnx" for c in report.candidates]


def test_what_does_not_fit_on_the_disk_leaves_nothing_half_written(folder: Path, report: RunReport) -> None:
    journal = Journal(folder)

    with files_no_larger_than(1_000), pytest.raises(OSError, match="File too large"):
        journal.with_models(report)
    with files_no_larger_than(1_000), pytest.raises(OSError, match="File too large"):
        journal.run_finished(report)
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_a_killed_attempts_models_give_way_to_those_of_the_next(folder: Path, report: RunReport) -> None:
    """In a sweep, which goes on in the same folders; what a runtime reads may be a folder."""
    made = folder.parent / "store" / "net"
    made.mkdir()
    (made / "weights.bin").write_text("these")
    model = artifact(made)
    converted = replace(report, candidates=(replace(report.candidates[0], model=model),))
    for name in ("baseline-fp32", "baseline-fp32.part"):
        (folder / "models" / name).mkdir(parents=True)
        (folder / "models" / name / "weights.bin").write_text("those of before")

    (kept,) = Journal(folder).with_models(converted).candidates

    assert artifact(kept.model.path).sha256 == model.sha256
    assert [path.name for path in (folder / "models").iterdir()] == [kept.model.path.name]


def test_sample_pictures_come_into_the_runs_folder_and_its_page(
    folder: Path, report: RunReport, tmp_path: Path
) -> None:
    samples = with_samples(tmp_path).candidates[0].samples
    drawn = replace(report, candidates=tuple(replace(c, samples=samples) for c in report.candidates))
    journal = Journal(folder)

    kept = journal.with_models(drawn)
    journal.run_finished(kept)

    assert (folder / "samples" / "1-baseline-fp32.jpg").read_bytes() == samples[0].drawn.path.read_bytes()
    told = json.loads((folder / "report.json").read_text())["candidates"][0]["samples"]
    assert told[1] == {"picture": "1.jpg", "found": "nothing", "file": "samples/2-baseline-fp32.jpg"}
    assert (folder / "report.html").read_text().count("data:image/jpeg") == 2 * len(report.candidates)
