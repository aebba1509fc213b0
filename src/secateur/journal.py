"""A run's folder: records.jsonl as the run goes, at the end the models, report.json and report.html."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import msgspec

from secateur.reporting.html import write_html
from secateur.reporting.summary import report_dict
from secateur.results import Candidate, Rung, RunReport, StageRecord


class Journal:
    """A sink; each record is on the disk before the next stage begins."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def stage_started(self, stage: str, label: str) -> None:
        """Nothing is known yet."""

    def stage_finished(self, record: StageRecord) -> None:
        with (self.folder / "records.jsonl").open("ab") as file:
            file.write(msgspec.json.encode(record) + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def rung_finished(self, rung: Rung) -> None:
        """Its stages are recorded."""

    def run_finished(self, report: RunReport) -> None:
        plain = msgspec.json.encode(report_dict(report, self.folder))
        _write_whole(self.folder / "report.json", msgspec.json.format(plain, indent=2))
        write_html(report, self.folder)

    def with_models(self, report: RunReport) -> RunReport:
        """The same report, its candidates' files now in the run's own folder."""
        kept = tuple(self._with_model(candidate) for candidate in report.candidates)
        return replace(report, candidates=kept)

    def _with_model(self, candidate: Candidate) -> Candidate:
        target = self.folder / "models" / f"{candidate.name}.onnx"
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(candidate.model.path, target)
        return replace(candidate, model=replace(candidate.model, path=target))


def _write_whole(path: Path, content: bytes) -> None:
    """Never half a file: written beside, then renamed."""
    beside = path.with_suffix(".part")
    beside.write_bytes(content)
    beside.rename(path)
