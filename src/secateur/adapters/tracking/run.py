"""A run in MLflow: it takes plain values, so that live and replayed runs cannot differ."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from secateur.adapters.tracking.connection import connect, experiment_of, library, told_in_one_line
from secateur.adapters.tracking.metrics import (
    accuracy_metrics,
    candidate_metrics,
    data_set,
    device_metrics,
    header_tags,
    ladder,
    rung_metrics,
    summary_tags,
)
from secateur.adapters.tracking.parents import PARENT, Parent, group_of, parent_of, runs_with
from secateur.manifest import DEVICES, DeviceReport
from secateur.reporting.summary import Setting, flatten, typed

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput

FILES = ("report.json", "report.html", "records.jsonl", "config", "samples")
"""What of a run's folder goes along; the models stay where they are."""

FACTS = ("file", "sha256", "size_bytes", "params", "macs", "runtime", "quantization")
"""What is told of the file that would ship, besides what was measured of it."""

SHIPPED = "shipped"

_BATCH = 100  # the most params or tags that MLflow takes at once


class Run:
    """An open MLflow run; moments are in ms since 1970, and none is told as before the one told last, nor as before
    `start`: a clock that is set back in between would turn curves around."""

    def __init__(
        self, client: MlflowClient, experiment_id: str, run_id: str, start: int = 0, parent: Parent | None = None
    ) -> None:
        self.id = run_id
        self.parent = parent
        self._client = client
        self._experiment_id = experiment_id
        self._latest = start
        self._looks = 0
        self._rungs: set[int] = set()
        self._epochs: dict[tuple[str, int], Any] = {}

    def log_params(self, params: Mapping[str, Setting]) -> None:
        """What was set, each value as one would type it; MLflow refuses another value for one that it has."""
        for part in _batches([library().entities.Param(name, typed(value)) for name, value in params.items()]):
            self._client.log_batch(self.id, params=part)

    def log_tags(self, tags: Mapping[str, Setting]) -> None:
        """Each value as one would type it; takes the place of what the tags said before."""
        for part in _batches([library().entities.RunTag(name, typed(value)) for name, value in tags.items()]):
            self._client.log_batch(self.id, tags=part)

    def log_stage(self, record: Mapping[str, Any]) -> None:
        """A line of `records.jsonl`: the seconds it took, the step is the rung; and its epochs, as far as they were not
        told."""
        seconds = {f"stage/{record['stage']}_seconds": record["seconds"]}
        finished = milliseconds(record["finished"])
        self._log_metrics(seconds, record["rung"] or 0, self._moment(finished))
        for epoch in record["outputs"].get("curve", ()):
            self.log_epoch(record["label"], record["rung"], epoch, finished)

    def log_epoch(self, label: str, rung: int | None, epoch: Mapping[str, Any], at: int) -> None:
        """`train/rung_1/classes_loss`, the epoch is the step; once, unless another attempt had other losses."""
        group = f"train/{label if rung is None else f'rung_{rung}'}"
        if self._epochs.get((group, epoch["epoch"])) != epoch["losses"]:
            told = {f"{group}/{name}_loss": value for name, value in epoch["losses"].items()}
            told[f"{group}/learning_rate"] = epoch["learning_rate"]
            self._log_metrics(told, epoch["epoch"], self._moment(at))
            self._epochs[group, epoch["epoch"]] = epoch["losses"]

    def log_usage(self, values: Mapping[str, float], at: int) -> None:
        """The step is the number of the look."""
        self._log_metrics(values, self._looks, self._moment(at))
        self._looks += 1

    def log_rung(self, rung: Mapping[str, Any], at: int) -> None:
        """`rung/…`, the step is the rung; once for each."""
        if rung["rung"] not in self._rungs:
            self._log_metrics(rung_metrics(rung), rung["rung"], self._moment(at))
            self._rungs.add(rung["rung"])

    def log_results(self, summary: Mapping[str, Any], at: int) -> None:
        """All of a `report.json`: rungs, `candidate/…` of each file, `final/…` of the one that ships, the data set, the
        tags."""
        for rung in ladder(summary):
            self.log_rung(rung, at)
        for name, accuracy in summary.get("before_pruning", {}).items():
            self._log_metrics(accuracy_metrics(f"{name}/", accuracy), 0, self._moment(at))
        for candidate in summary["candidates"]:
            self._log_metrics(candidate_metrics(f"candidate/{candidate['name']}", candidate), 0, self._moment(at))
            if candidate["name"] == summary["selected"]:
                model_id = self._log_shipped(candidate)
                self._log_metrics(candidate_metrics("final", candidate), 0, self._moment(at), model_id)
        if found := data_set(summary):
            self._log_data(found)
        self.log_tags(summary_tags(summary))

    def _log_shipped(self, candidate: Mapping[str, Any]) -> str:
        """The facts of what would ship, as one of MLflow's models, of which the file stays where it is; its id."""
        facts = {name: str(candidate[name]) for name in FACTS}
        model = self._client.create_logged_model(
            self._experiment_id, candidate["name"], self.id, {"kind": SHIPPED}, facts, model_type="onnx"
        )
        self._client.finalize_logged_model(model.model_id, "READY")
        self._client.log_outputs(self.id, [library().entities.LoggedModelOutput(model.model_id, 0)])
        made: str = model.model_id
        return made

    def _log_data(self, found: Mapping[str, Any]) -> None:
        """A data set a split, since MLflow takes those of one name and digest for the same."""
        entities = library().entities
        for split, context in (("train", "training"), ("val", "validation")):
            about = {"num_rows": found[split], "sha256": found["digest"]}
            source = json.dumps({"uri": found["source"]})
            data = entities.Dataset(
                f"{found['name']}/{split}", found["digest"][:16], "local", source, profile=json.dumps(about)
            )
            named = [entities.InputTag("mlflow.data.context", context)]
            self._log_input(entities.DatasetInput(data, named))

    def _log_input(self, entry: DatasetInput) -> None:
        """Of jobs that add one data set at the same moment a server's database takes one; the others find it there."""
        try:
            self._client.log_inputs(self.id, [entry])
        except library().exceptions.MlflowException as error:
            if "unique" not in str(error).lower():
                raise
            self._client.log_inputs(self.id, [entry])

    def attach(self, run_dir: Path) -> None:
        """Uploads those of FILES that lie in the folder."""
        for path in (run_dir / name for name in FILES):
            if path.is_dir():
                self._client.log_artifacts(self.id, str(path), path.name)
            elif path.exists():
                self._client.log_artifact(self.id, str(path))

    def log_device(self, report: DeviceReport, path: Path) -> None:
        """`device/<which>/<file>/…`, as of when it was measured: MLflow keeps the same value of one moment once."""
        at = milliseconds(report.created)
        for name, found in report.models.items():
            self._log_metrics(device_metrics(f"device/{report.slug}/{name}", found), 0, at)
        with TemporaryDirectory(prefix="secateur-") as folder:
            named = shutil.copyfile(path, Path(folder) / f"{report.slug}.json")
            self._client.log_artifact(self.id, str(named), DEVICES)

    def close(self, status: str, end: int) -> None:
        """MLflow has no word of its own for a run that was stopped early; the tag `error` says why."""
        self._client.set_terminated(self.id, "KILLED" if status == "stopped" else status.upper(), self._moment(end))

    def settle(self, end: int) -> None:
        """Of the sweep or the search that it is of: how far that is."""
        if self.parent:
            self.parent.settle(self._moment(end), over=False)

    def take_the_place(self, run_dir: Path) -> None:
        """Moves what else MLflow has of this folder to its bin, from where it can be restored."""
        for run in runs_with(self._client, self._experiment_id, "run_dir", _folder(run_dir)):
            if run.info.run_id != self.id and run.data.tags["run_dir"] == _folder(run_dir):
                self._delete(run.info.run_id)

    def throw_away(self) -> None:
        """Deletes the run, which MLflow keeps in its bin, and the model of what it would ship."""
        self._delete(self.id)

    def _delete(self, run_id: str) -> None:
        """With what it would ship; what of it was registered stays."""
        theirs = f"source_run_id = '{run_id}' AND tags.kind = '{SHIPPED}'"
        for model in self._client.search_logged_models([self._experiment_id], theirs):
            self._client.delete_logged_model(model.model_id)
        self._client.delete_run(run_id)

    def _moment(self, at: int) -> int:
        self._latest = max(self._latest, at)
        return self._latest

    def _log_metrics(self, values: Mapping[str, float | None], step: int, at: int, model_id: str | None = None) -> None:
        measured = {name: float(value) for name, value in values.items() if value is not None}
        metrics = [
            library().entities.Metric(name, value, at, step, model_id=model_id) for name, value in measured.items()
        ]
        self._client.log_batch(self.id, metrics=metrics)


def open_run(uri: str, experiment: str, header: Mapping[str, Any], run_dir: Path, start: int) -> Run:
    """With what is known before it starts: a RunHeader's values."""
    with told_in_one_line(uri):
        client = connect(uri)
        experiment_id = experiment_of(client, uri, experiment)
        group = group_of(run_dir)
        parent = parent_of(client, experiment_id, group, start) if group else None
        tags = {"run_dir": _folder(run_dir)} | ({PARENT: parent.id} if parent else {})
        name = group.name_of(run_dir, header) if group else header["name"]
        opened = client.create_run(experiment_id, start, tags, name)
        run = Run(client, experiment_id, opened.info.run_id, start, parent)
        run.log_params(flatten(header["spec"]))
        run.log_tags(header_tags(header, run_dir))
        return run


def run_of(client: MlflowClient, experiment_id: str, run_id: str, folder: Path | None) -> str | None:
    """The MLflow run whose folder is this one, or where it is not known, is called so."""
    name = f"/{run_id}"
    alike = runs_with(client, experiment_id, "run_dir", name, before="%")
    places = {run.data.tags["run_dir"]: run.info.run_id for run in reversed(alike)}  # the newest of a place last
    if folder and _folder(folder) in places:
        return places[_folder(folder)]
    return next((found for place, found in reversed(places.items()) if place.endswith(name)), None)


def _batches(entries: list[Any]) -> Iterator[list[Any]]:
    return (entries[start : start + _BATCH] for start in range(0, len(entries), _BATCH))


def _folder(run_dir: Path) -> str:
    return run_dir.absolute().as_posix()


def milliseconds(moment: str) -> int:
    """Of an ISO date and time, in ms since 1970; without an offset it is this machine's local time."""
    return int(1000 * datetime.fromisoformat(moment).timestamp())


def now() -> int:
    """In ms since 1970."""
    return int(1000 * time.time())
