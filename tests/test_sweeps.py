import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from secateur import sweeps
from secateur.errors import SpecError
from secateur.quantizers import int8_static
from secateur.quantizers.int8_static import Int8Static
from secateur.stages import quantize
from secateur.store import canonical
from secateur.sweeps import Sweep

LIBRARIES = {library: version(library) for library in quantize.LIBRARIES}

RATES = Sweep(
    ["schedule.target=0.1,0.2,0.3", "seed=1"],
    [[f"schedule.target=0.{rate}", "seed=1"] for rate in (1, 2, 3)],
)


def tell(folder: Path, status: str | None) -> None:
    """A job's folder, as far as it came."""
    folder.mkdir(parents=True)
    (folder / "records.jsonl").touch()
    if status:
        (folder / "report.json").write_text(json.dumps({"run": {"status": status}}))


def record(**changes: Any) -> dict[str, Any]:
    made = {"stage": "quantize", "version": quantize.VERSION, "libraries": LIBRARIES, "inputs": {}}
    return made | changes


def write_records(folder: Path, *records: dict[str, Any]) -> None:
    (folder / "records.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in records))


def test_a_sweep_comes_back_as_it_was_written(tmp_path: Path) -> None:
    sweeps.write(RATES, tmp_path / "sweep")

    assert sweeps.read(tmp_path / "sweep") == RATES


def test_a_job_is_named_by_what_the_others_do_not_have(tmp_path: Path) -> None:
    assert [job.label for job in sweeps.jobs_of(RATES, tmp_path)] == [
        "job 0 (schedule.target=0.1)", "job 1 (schedule.target=0.2)", "job 2 (schedule.target=0.3)",
    ]  # fmt: skip


@pytest.mark.parametrize("status", ["finished", "failed", "killed"])
def test_a_job_that_could_end_says_how_it_did(status: str, tmp_path: Path) -> None:
    tell(tmp_path / "0", status)

    assert sweeps.jobs_of(RATES, tmp_path)[0].state == status


def test_a_job_that_could_not_end_was_broken_off(tmp_path: Path) -> None:
    tell(tmp_path / "0", None)
    tell(tmp_path / "1", "finished")

    assert [job.state for job in sweeps.jobs_of(RATES, tmp_path)] == ["broken off", "finished", "not started"]
    assert (
        sweeps.tally(job.state for job in sweeps.jobs_of(RATES, tmp_path))
        == "3 jobs: 1 broken off, 1 finished, 1 not started"
    )


def test_the_newest_sweep_of_the_same_jobs_is_found(tmp_path: Path) -> None:
    others = Sweep(["seed=1,2"], [["seed=1"], ["seed=2"]])
    at_once = Sweep(["hydra/launcher=parallel", *RATES.overrides], RATES.jobs)
    for name, sweep in (("20260101_a", RATES), ("20260301_a", at_once), ("20260401_b", others)):
        sweeps.write(sweep, tmp_path / name)

    assert sweeps.newest(tmp_path, RATES.jobs) == tmp_path / "20260301_a"
    assert sweeps.newest(tmp_path, [["seed=3"], ["seed=4"]]) is None


def test_a_folder_that_holds_no_whole_sweep_hides_no_other(tmp_path: Path) -> None:
    sweeps.write(RATES, tmp_path / "20260101_a")
    (tmp_path / "20260301_a").mkdir()
    (tmp_path / "20260301_a" / "sweep.json").write_text('{"overrides": ["sched')

    assert sweeps.newest(tmp_path, RATES.jobs) == tmp_path / "20260101_a"


def test_a_sweep_whose_jobs_cannot_have_their_folders_is_not_begun(tmp_path: Path) -> None:
    (tmp_path / "1").write_text("a file")

    with pytest.raises(FileExistsError):
        sweeps.write(RATES, tmp_path)
    assert not (tmp_path / "sweep.json").exists()


def test_a_sweep_of_a_newer_secateur_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text('{"format": 2, "pages": []}')

    with pytest.raises(SpecError, match=r"is of a newer secateur \(format 2; this one reads 1\)$"):
        sweeps.read(tmp_path)


def test_nothing_is_stale_that_would_be_made_alike(tmp_path: Path) -> None:
    write_records(tmp_path, record(inputs=canonical({"quantizer": Int8Static()})))

    assert sweeps.stale(tmp_path) == {}


def test_what_another_version_of_a_stage_made_is_stale(tmp_path: Path) -> None:
    write_records(tmp_path, record(version=quantize.VERSION - 1))

    assert sweeps.stale(tmp_path) == {"quantize": f"VERSION {quantize.VERSION - 1} → {quantize.VERSION}"}


def test_what_no_stage_makes_any_more_is_stale(tmp_path: Path) -> None:
    write_records(tmp_path, record(stage="trim"))

    assert sweeps.stale(tmp_path) == {"trim": "there is no such stage any more"}


def test_what_says_no_version_is_stale(tmp_path: Path) -> None:
    old = record()
    del old["version"]
    write_records(tmp_path, old)

    assert sweeps.stale(tmp_path) == {"quantize": "its record is of before versions were recorded"}


def test_what_another_version_of_a_library_made_is_stale(tmp_path: Path) -> None:
    write_records(tmp_path, record(libraries=LIBRARIES | {"numpy": "1.0", "no-such-library": "3"}))

    why = sweeps.stale(tmp_path)["quantize"]
    assert "numpy 1.0 → " in why
    assert "no-such-library 3 → (not installed)" in why


def test_what_was_made_before_a_library_counted_is_stale(tmp_path: Path) -> None:
    write_records(tmp_path, record(libraries={}))

    assert sweeps.stale(tmp_path)["quantize"].startswith(f"{quantize.LIBRARIES[0]} (none) → ")


def test_what_another_version_of_a_part_made_is_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_records(tmp_path, record(inputs=canonical({"deep": [Int8Static()]})))
    before = int8_static.VERSION
    monkeypatch.setattr(int8_static, "VERSION", before + 1)

    assert sweeps.stale(tmp_path) == {"quantize": f"Int8Static@{before} → Int8Static@{before + 1}"}
