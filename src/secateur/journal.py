"""A run's folder: records.jsonl as the run goes, at the end models, sample pictures, report.json and report.html."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from secateur.reporting.html import render
from secateur.reporting.summary import report_dict
from secateur.results import Artifact, Candidate, Epoch, Rung, RunReport, StageRecord


class Journal:
    """A sink; each record is on the disk before the next stage begins."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rungs: list[Rung] = []
        self.dataset: dict[str, Any] | None = None

    def start_anew(self) -> None:
        """What an earlier attempt told in this folder is gone; what it had made is in the store."""
        for name in ("records.jsonl", "report.json", "report.html"):
            (self.folder / name).unlink(missing_ok=True)

    def stage_started(self, stage: str, label: str) -> None:
        """Nothing is known yet."""

    def stage_finished(self, record: StageRecord) -> None:
        if record.stage == "prepare":
            self.dataset = {key: value for key, value in record.outputs.items() if key != "kind"}
        with (self.folder / "records.jsonl").open("ab") as file:
            file.write(msgspec.json.encode(record) + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def epoch_finished(self, label: str, rung: int | None, epoch: Epoch) -> None:
        """Part of its stage's record, once that is done."""

    def rung_finished(self, rung: Rung) -> None:
        self.rungs.append(rung)

    def run_finished(self, report: RunReport) -> None:
        plain = msgspec.json.encode(report_dict(report, self.folder))
        with _whole(self.folder / "report.json") as path:
            path.write_bytes(msgspec.json.format(plain, indent=2))
        with _whole(self.folder / "report.html") as path:
            path.write_text(render(report), encoding="utf-8")

    def with_rungs(self, report: RunReport) -> RunReport:
        """The report of a run that failed, with what it had found by then; rung 0 is the unpruned net."""
        if not self.rungs:
            return report
        unpruned, *rungs = self.rungs
        return replace(
            report, dataset=self.dataset, baseline_footprint=unpruned.footprint, baseline=unpruned.tuned,
            rungs=tuple(rungs),
        )  # fmt: skip

    def with_models(self, report: RunReport) -> RunReport:
        """The same report, its checkpoints, files and sample pictures now in the run's own folder."""
        kept = {name: self._kept(made, f"models/{name}.pt") for name, made in report.checkpoints.items()}
        return replace(report, checkpoints=kept, candidates=tuple(map(self._with_files, report.candidates)))

    def _with_files(self, candidate: Candidate) -> Candidate:
        name, model = candidate.name, candidate.model
        kept = self._kept(model, f"models/{name}" if model.path.is_dir() else f"models/{name}.onnx")
        samples = tuple(
            replace(sample, drawn=self._kept(sample.drawn, f"samples/{number}-{name}.jpg"))
            for number, sample in enumerate(candidate.samples, start=1)
        )
        return replace(candidate, model=kept, samples=samples)

    def _kept(self, made: Artifact, place: str) -> Artifact:
        target = self.folder / place
        target.parent.mkdir(exist_ok=True)
        with _whole(target) as path:
            copy = shutil.copytree if made.path.is_dir() else shutil.copyfile
            copy(made.path, path)
        return replace(made, path=target)


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Never half a file, or folder: where to write it, beside its place; it is renamed when whole, and gone when that
    fails."""
    beside = path.with_name(f"{path.name}.part")
    _remove(beside)  # of an attempt that was killed
    try:
        yield beside
        if beside.is_dir():
            _remove(path)  # no folder takes another's place
        beside.replace(path)
    finally:
        _remove(beside)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
