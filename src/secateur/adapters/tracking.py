"""THE door to mlflow: a view of the records, which stay the truth and can be replayed into it."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from secateur.errors import TrackingError
from secateur.manifest import DEVICES, DeviceReport, OnDevice, devices_of, limited, read
from secateur.reporting.summary import Setting, flatten, report_dict, rung_dict, typed

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from secateur.results import Epoch, Rung, RunReport, StageRecord

FILES = ("report.json", "report.html", "records.jsonl", "config")
"""What of a run's folder goes along; the models stay where they are."""

_BATCH = 100  # the most params or tags that MLflow takes at once

_log = logging.getLogger(__name__)


class MlflowSink:
    """One run in MLflow; once it is open, no failure of the tracking reaches the run."""

    def __init__(
        self,
        uri: str,
        experiment: str,
        run_name: str,
        params: Mapping[str, Setting],
        tags: Mapping[str, str],
        run_dir: Path,
    ) -> None:
        """Raises TrackingError where nothing answers at `uri`."""
        self._run = _open_run(uri, experiment, run_name, params, tags, run_dir)
        self._run_dir = run_dir
        self.run_id = self._run.id

    def stage_started(self, stage: str, label: str) -> None:
        """Nothing: MLflow is told of what is done."""

    def stage_finished(self, record: StageRecord) -> None:
        """Logs `stage/<stage>_seconds`, and the curve of a training as far as it is not known yet."""
        self._attempt(self._run.log_stage, asdict(record))

    def epoch_finished(self, label: str, rung: int | None, epoch: Epoch) -> None:
        """Logs `train/…`, step by step."""
        self._attempt(self._run.log_epoch, label, rung, asdict(epoch), _now())

    def rung_finished(self, rung: Rung) -> None:
        """Logs `rung/…`; rung 0, the baseline, may be handed in as soon as it is known."""
        self._attempt(self._run.log_rung, rung_dict(rung))

    def run_finished(self, report: RunReport) -> None:
        """Logs `final/…` and `candidate/…`, attaches the files of the run's folder and closes the run."""
        summary = report_dict(report, self._run_dir)
        self._attempt(self._run.log_results, summary)
        self._attempt(self._run.attach, self._run_dir)
        self._attempt(self._run.close, summary["run"]["status"], _now())

    def _attempt(self, log: Callable[..., None], *values: Any) -> None:
        try:
            log(*values)
        except Exception as error:  # noqa: BLE001 - no server, disk or driver may cost hours of work
            line = _one_line(error)
            _log.warning("MLflow did not take a result (%s); the records hold it: secateur replay brings it back", line)


def replay(run_dir: Path, uri: str, experiment: str, tags: Mapping[str, str]) -> str:
    """Logs a run's folder as the live sink would have, in place of what MLflow has of it; the new MLflow run's id."""
    summary, records = _read(run_dir)
    devices = devices_of(run_dir)  # before a run is opened, which a damaged one would leave half told
    end = max((_milliseconds(record["finished"]) for record in records), default=_now())
    start = end - int(1000 * summary["run"]["seconds"])
    with _told_in_one_line(uri):
        run = _open_run(uri, experiment, summary["run"]["name"], flatten(summary["run"]["spec"]), tags, run_dir, start)
        for record in records:
            run.log_stage(record)
        run.log_results(summary)
        run.attach(run_dir)
        for path, report in devices.items():
            run.log_device(report, path)
        run.close(summary["run"]["status"], end)
        _drop_others(uri, experiment, run_dir, run.id)
    return run.id


def replay_device(path: Path, uri: str, experiment: str, outputs: Path) -> str:
    """Logs what a device found out about a run beside what the run itself did, and keeps the file in the run's folder,
    unless a newer one of the device is there, so that it comes along when that is replayed; doing so twice changes
    nothing. The MLflow run's id."""
    report = read(limited(path), DeviceReport, path)
    folder = next(filter(Path.is_dir, (outputs / kind / report.run_id for kind in ("runs", "sweeps"))), None)
    kept = _keep(report, path, folder / DEVICES / f"{report.slug}.json") if folder else None
    with _told_in_one_line(uri):
        client = _client(uri)
        found = _run_of(client, _experiment_id(client, uri, experiment), report.run_id, folder)
        if found:
            _Run(client, found).log_device(report, kept or path)
            return found
    if kept:
        raise TrackingError(f"MLflow has no run {report.run_id}; {kept} is kept: secateur replay {folder}")
    raise TrackingError(f"no run {report.run_id} in MLflow at {uri}, nor in {outputs}; say where it is with --uri")


def prepare(uri: str) -> None:
    """Creates and migrates a SQLite database; safe when many processes start at once against none."""
    with _told_in_one_line(uri):
        _client(uri).search_experiments(max_results=1)


class _Run:
    """An open MLflow run; tells plain values, so that live and replayed runs cannot differ."""

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self.id = run_id
        self._client = client
        self._rungs: set[int] = set()
        self._epochs: dict[tuple[str, int], Any] = {}

    def log_params(self, params: Mapping[str, Setting]) -> None:
        for part in _batches([_mlflow().entities.Param(name, typed(value)) for name, value in params.items()]):
            self._client.log_batch(self.id, params=part)

    def log_tags(self, tags: Mapping[str, Setting]) -> None:
        for part in _batches([_mlflow().entities.RunTag(name, typed(value)) for name, value in tags.items()]):
            self._client.log_batch(self.id, tags=part)

    def log_stage(self, record: Mapping[str, Any]) -> None:
        seconds = {f"stage/{record['stage']}_seconds": record["seconds"]}
        finished = _milliseconds(record["finished"])
        self._log_metrics(seconds, record["rung"] or 0, finished)
        for epoch in record["outputs"].get("curve", ()):
            self.log_epoch(record["label"], record["rung"], epoch, finished)

    def log_epoch(self, label: str, rung: int | None, epoch: Mapping[str, Any], at: int) -> None:
        """`train/rung_1/classes_loss`, the epoch is the step; once, unless another attempt had other losses."""
        group = f"train/{label if rung is None else f'rung_{rung}'}"
        if self._epochs.get((group, epoch["epoch"])) != epoch["losses"]:
            losses = {f"{group}/{name}_loss": value for name, value in epoch["losses"].items()}
            self._log_metrics(losses | {f"{group}/learning_rate": epoch["learning_rate"]}, epoch["epoch"], at)
            self._epochs[group, epoch["epoch"]] = epoch["losses"]

    def log_rung(self, rung: Mapping[str, Any]) -> None:
        if rung["rung"] not in self._rungs:
            self._log_metrics(_rung_metrics(rung), rung["rung"], _now())
            self._rungs.add(rung["rung"])

    def log_results(self, summary: Mapping[str, Any]) -> None:
        for rung in _ladder(summary):
            self.log_rung(rung)
        for name, accuracy in summary.get("before_pruning", {}).items():
            self._log_metrics(_accuracy_metrics(f"{name}/", accuracy), 0, _now())
        for candidate in summary["candidates"]:
            self._log_metrics(_candidate_metrics(f"candidate/{candidate['name']}", candidate), 0, _now())
            if candidate["name"] == summary["selected"]:
                self._log_metrics(_candidate_metrics("final", candidate), 0, _now())
        self.log_tags(_summary_tags(summary))

    def attach(self, run_dir: Path) -> None:
        for path in (run_dir / name for name in FILES):
            if path.is_dir():
                self._client.log_artifacts(self.id, str(path), path.name)
            elif path.exists():
                self._client.log_artifact(self.id, str(path))

    def log_device(self, report: DeviceReport, path: Path) -> None:
        """`device/<which>/<file>/…`, as of when it was measured: MLflow keeps the same value of one moment once."""
        at = _milliseconds(report.created)
        for name, found in report.models.items():
            self._log_metrics(_device_metrics(f"device/{report.slug}/{name}", found), 0, at)
        with TemporaryDirectory(prefix="secateur-") as folder:
            named = shutil.copyfile(path, Path(folder) / f"{report.slug}.json")
            self._client.log_artifact(self.id, str(named), DEVICES)

    def close(self, status: str, end: int) -> None:
        self._client.set_terminated(self.id, status.upper(), end)

    def _log_metrics(self, values: Mapping[str, float | None], step: int, at: int) -> None:
        measured = {name: float(value) for name, value in values.items() if value is not None}
        metrics = [_mlflow().entities.Metric(name, value, at, step) for name, value in measured.items()]
        self._client.log_batch(self.id, metrics=metrics)


def _open_run(
    uri: str,
    experiment: str,
    name: str,
    params: Mapping[str, Setting],
    tags: Mapping[str, str],
    run_dir: Path,
    start: int | None = None,
) -> _Run:
    with _told_in_one_line(uri):
        client = _client(uri)
        opened = client.create_run(
            _experiment_id(client, uri, experiment), start or _now(), {"run_dir": _folder(run_dir)}, name
        )
        run = _Run(client, opened.info.run_id)
        run.log_params(params)
        run.log_tags(tags)
        return run


def _experiment_id(client: MlflowClient, uri: str, name: str) -> str:
    with _alone(uri):
        found = client.get_experiment_by_name(name)
        return found.experiment_id if found else client.create_experiment(name, artifact_location=_artifacts(uri))


def _drop_others(uri: str, experiment: str, run_dir: Path, kept: str) -> None:
    """Moves what else MLflow has of this folder to its bin, from where it can be restored."""
    client = _client(uri)
    experiment_id = _experiment_id(client, uri, experiment)
    for run in client.search_runs([experiment_id], f"tags.run_dir = {json.dumps(_folder(run_dir))}"):
        if run.info.run_id != kept:
            client.delete_run(run.info.run_id)


def _run_of(client: MlflowClient, experiment_id: str, run_id: str, folder: Path | None) -> str | None:
    """The MLflow run whose folder is this one, or where it is not known, is called so."""
    name = f"/{run_id}"
    alike = client.search_runs([experiment_id], f"tags.run_dir LIKE {json.dumps(f'%{name}')}")
    places = {run.data.tags["run_dir"]: run.info.run_id for run in reversed(alike)}  # the newest of a place last
    if folder and _folder(folder) in places:
        return places[_folder(folder)]
    # in the pattern above an underscore stands for any letter
    return next((found for place, found in reversed(places.items()) if place.endswith(name)), None)


def _keep(report: DeviceReport, path: Path, target: Path) -> Path:
    """Never half a file, and never an older one in place of a newer."""
    if target.exists() and read(limited(target), DeviceReport, target).moment > report.moment:
        return target
    target.parent.mkdir(exist_ok=True)
    beside = target.with_name(f".{target.name}.part")
    shutil.copyfile(path, beside)
    return beside.replace(target)


def _client(uri: str) -> MlflowClient:
    """The client alone: it knows no active run, no global tracking uri and no `MLFLOW_RUN_ID`."""
    library = _mlflow()
    with _alone(uri):  # opening a database makes or migrates it
        client: MlflowClient = library.MlflowClient(uri)
    return client


def _mlflow() -> ModuleType:
    """The library, silenced before it is imported: no calls home, no chatter about migrations."""
    os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # else a dead server holds a run up for minutes
    import mlflow

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return mlflow


@contextmanager
def _told_in_one_line(uri: str) -> Iterator[None]:
    from sqlalchemy.exc import SQLAlchemyError  # MLflow lets those of opening a database through

    try:
        yield
    except (_mlflow().exceptions.MlflowException, SQLAlchemyError, OSError) as error:
        raise TrackingError(f"MLflow at {uri} cannot be used: {_one_line(error)}") from error


def _alone(uri: str) -> AbstractContextManager[Any]:
    """Holds the lock beside a SQLite database: MLflow's first migration breaks when two processes make it."""
    database = _database(uri)
    if database is None:
        return nullcontext()
    database.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(f"{database}.lock")


def _artifacts(uri: str) -> str | None:
    """A folder beside a SQLite database; a server chooses its own."""
    database = _database(uri)
    return (database.parent / "mlflow-artifacts").as_uri() if database else None


def _database(uri: str) -> Path | None:
    path = uri.removeprefix("sqlite:///")
    return Path(path).absolute() if path != uri else None


def _ladder(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The rungs, with the baseline as rung 0."""
    baseline = summary["baseline"]
    if baseline is None:
        return list(summary["rungs"])
    return [{"rung": 0, **baseline, "pruned": baseline, "tuned": baseline}, *summary["rungs"]]


def _rung_metrics(rung: Mapping[str, Any]) -> dict[str, float | None]:
    return {
        **_footprint_metrics("rung", rung),
        **_accuracy_metrics("rung/", rung["tuned"]),
        **_accuracy_metrics("rung/pruned_", rung["pruned"]),
    }


def _candidate_metrics(group: str, candidate: Mapping[str, Any]) -> dict[str, float | None]:
    return {
        **_footprint_metrics(group, candidate),
        **_accuracy_metrics(f"{group}/", candidate),
        **_change_metrics(f"{group}/box_map50_95_change", candidate.get("box_map50_95_change")),
        **_change_metrics(f"{group}/mask_map50_95_change", candidate.get("mask_map50_95_change")),
        f"{group}/size_mb": candidate["size_bytes"] / 1e6,
        **_latency_metrics(group, candidate["latency_ms"], candidate.get("end_to_end_ms"), candidate),
    }


def _device_metrics(group: str, found: OnDevice) -> dict[str, float | None]:
    """Of a file that failed its self-test there is no latency."""
    worst = max((value for value in found.check.deviations.values() if value is not None), default=None)
    tested = {f"{group}/self_test_deviation": worst, f"{group}/self_test_passed": float(found.check.fault is None)}
    if found.latency is None:
        return tested
    timed = asdict(found.latency)
    return tested | _latency_metrics(group, timed["ms"], (timed["end_to_end"] or {}).get("ms"), timed)


def _latency_metrics(
    group: str, ms: Mapping[str, float], whole_ms: Mapping[str, float] | None, told: Mapping[str, Any]
) -> dict[str, float | None]:
    """What older reports do not tell is None."""
    return {
        f"{group}/latency_ms_p50": ms["p50"],
        f"{group}/latency_ms_p95": ms["p95"],
        f"{group}/speedup": told["speedup"]["median"],
        f"{group}/speedup_low": told["speedup"]["low"],
        f"{group}/speedup_high": told["speedup"]["high"],
        **{f"{group}/{name}": told.get(name) for name in ("images_per_second", "load_seconds", "peak_memory_mb")},
        f"{group}/end_to_end_ms_p50": (whole_ms or {}).get("p50"),
    }


def _footprint_metrics(group: str, values: Mapping[str, Any]) -> dict[str, float | None]:
    return {f"{group}/params_m": values["params"] / 1e6, f"{group}/macs_g": values["macs"] / 1e9}


def _accuracy_metrics(prefix: str, values: Mapping[str, Any]) -> dict[str, float | None]:
    return {f"{prefix}{name}": values[name] for name in ("box_map50_95", "mask_map50_95")}


def _change_metrics(name: str, found: Mapping[str, float] | None) -> dict[str, float | None]:
    """None for the unpruned FP32, and in reports that are older than this."""
    return {name: found["observed"], f"{name}_low": found["low"], f"{name}_high": found["high"]} if found else {}


def _summary_tags(summary: Mapping[str, Any]) -> dict[str, Setting]:
    """What the run's page shows on top, and what runs can be told apart by."""
    run = summary["run"]
    told = {name: run[name] for name in ("command", "git", "error")} | {
        name: summary[name] for name in ("selected", "why")
    }
    nested = {"versions": run["versions"], "dataset": summary["dataset"] or {}, "device": summary["device"] or {}}
    tags = told | flatten(nested) | {"mlflow.note.content": summary["headline"]}
    return {name: value for name, value in tags.items() if value is not None}


def _read(run_dir: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    try:
        summary = json.loads((run_dir / "report.json").read_text())
        lines = (run_dir / "records.jsonl").read_text().splitlines()
        return summary, [json.loads(line) for line in lines]
    except (OSError, ValueError) as error:
        raise TrackingError(f"{run_dir} holds no finished run to replay: {_one_line(error)}") from error


def _batches(entries: list[Any]) -> Iterator[list[Any]]:
    return (entries[start : start + _BATCH] for start in range(0, len(entries), _BATCH))


def _folder(run_dir: Path) -> str:
    return run_dir.absolute().as_posix()


def _one_line(error: Exception) -> str:
    return textwrap.shorten((str(error).splitlines() or [type(error).__name__])[0], 240, placeholder=" …")


def _milliseconds(moment: str) -> int:
    return int(1000 * datetime.fromisoformat(moment).timestamp())


def _now() -> int:
    return int(1000 * time.time())


def serve(uri: str, port: int) -> int:
    """MLflow's own pages on 127.0.0.1, until they are stopped; the exit code."""
    prepare(uri)
    options = {"--backend-store-uri": uri, "--host": "127.0.0.1", "--port": str(port), "--workers": "1"}
    command = [sys.executable, "-m", "mlflow", "ui", *(word for option in options.items() for word in option)]
    return subprocess.run(command, check=False).returncode
