"""What the reports of the studies tell is what the kept records say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from experiments import tables
from experiments.keep import keep
from secateur.manifest import DEVICES, devices_of
from secateur.records import records_in

ROOT = Path(__file__).parents[1]
REPORTS = ROOT / "experiments" / "reports"
STUDIES = ROOT / "experiments" / "study"
KEPT = sorted(path for path in REPORTS.glob("*.md") if path.with_suffix("").is_dir())
"""Reports of which the records are kept."""

LARGEST = 150_000
"""Bytes of a run: they stay in the history for good."""


def runs(report: Path) -> list[Path]:
    return sorted(path.parent for path in report.with_suffix("").rglob("report.json"))


def read(run: Path) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads((run / "report.json").read_text(encoding="utf-8"))
    return plain


def prose(report: Path) -> str:
    """What is written by hand: no table of a command, and no figure from elsewhere, which stands behind `>`."""
    text = tables.BLOCK.sub("", report.read_text(encoding="utf-8"))
    return "\n".join(line for line in text.splitlines() if not line.startswith(">"))


def numbers(value: Any, key: str = "") -> Iterator[tuple[str, float]]:
    """Every number below, with the key that leads to it."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from numbers(each, f"{key}.{name}")
    elif isinstance(value, list):
        for each in value:
            yield from numbers(each, key)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield key, float(value)


@cache
def told_by(report: Path) -> tuple[set[str], set[str]]:
    """mAPs and their changes with three digits, speed-ups with two, of all runs."""
    found = [
        each
        for run in runs(report)
        for part in ("baseline", "before_pruning", "rungs", "candidates")
        for each in numbers(read(run)[part])
    ]
    found += [
        each for run in runs(report) for device in devices_of(run) for each in numbers(json.loads(device.read_bytes()))
    ]
    accuracies = {f"{abs(value):.3f}" for key, value in found if "map50" in key}
    return accuracies, {f"{value:.2f}" for key, value in found if "speedup" in key}


@pytest.mark.parametrize("report", KEPT, ids=lambda path: path.stem)
def test_the_tables_of_a_report_are_what_its_commands_say(report: Path) -> None:
    text = report.read_text(encoding="utf-8")

    assert tables.filled(text) == text, "fill them in anew: make reports"


@pytest.mark.parametrize("report", KEPT, ids=lambda path: path.stem)
def test_each_figure_of_a_report_is_one_of_its_records(report: Path) -> None:
    accuracies, speedups = told_by(report)
    text = prose(report)

    assert set(re.findall(r"(?<![\d.])0\.\d{3}(?!\d)", text)) <= accuracies
    assert set(re.findall(r"(\d+\.\d\d)×", text)) <= speedups


@pytest.mark.parametrize(
    "run", [run for report in KEPT for run in runs(report)], ids=lambda run: run.parent.name + run.name
)
def test_a_kept_run_is_finished_and_its_report_tells_what_its_stages_found(run: Path) -> None:
    report, records = read(run), records_in(run)
    scored = {record["label"]: record["outputs"]["accuracy"] for record in records if record["stage"] == "evaluate"}
    timed = next(record["outputs"]["latencies"] for record in records if record["stage"] == "benchmark")

    assert report["run"]["status"] == "finished"
    for file in report["candidates"]:
        assert file["mask_map50_95"] == scored[file["name"]]["mask_map50_95"]
        assert file["box_map50_95"] == scored[file["name"]]["box_map50_95"]
        assert {"kind": "Interval", **file["speedup"]} == timed[file["name"]]["speedup"]
        assert file["latency_ms"]["p50"] == timed[file["name"]]["ms"]["p50"]


@pytest.mark.parametrize("report", KEPT, ids=lambda path: path.stem)
def test_what_is_kept_is_small_text_without_a_path_of_the_machine_it_was_made_on(report: Path) -> None:
    for run in runs(report):
        texts = {path.relative_to(run): path.read_text(encoding="utf-8") for path in run.rglob("*") if path.is_file()}

        assert {path.as_posix() for path in texts if path.parts[0] != DEVICES} == {"records.jsonl", "report.json"}
        assert sum(map(len, texts.values())) <= LARGEST
        assert not re.findall(r'"(?:/|~|file:)[^"]*"', "".join(texts.values()))


def test_keeping_again_what_is_kept_changes_nothing(tmp_path: Path) -> None:
    (report, *_) = KEPT
    (first, *_) = runs(report)

    (kept,) = keep(first, tmp_path / "kept")

    for path in first.rglob("*.json*"):
        assert (kept / path.relative_to(first)).read_bytes() == path.read_bytes()


def test_every_report_is_told_in_the_overview_and_belongs_to_a_study() -> None:
    overview = (REPORTS / "README.md").read_text(encoding="utf-8")

    for report in REPORTS.glob("*.md"):
        if report.name != "README.md":
            assert f"]({report.name})" in overview
            assert (STUDIES / f"{report.stem}.yaml").is_file()
