"""A run as it is told to MLflow, what MLflow then has of it, and many of them at once."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from secateur.adapters.tracking import MlflowSink, prepare, replay
from secateur.reporting.summary import report_dict
from secateur.results import Epoch, RunHeader, RunReport, StageRecord
from tests.example_report import finished

ROOT = Path(__file__).parents[1]

RUNS = "tags.run_dir LIKE '%'"
"""MLflow's filter for runs that are no sweep's parent."""


def records(epochs: int = 2) -> list[StageRecord]:
    """Of three stages; the first one trained that long."""
    moments = ("2026-11-22T16:00:10+00:00", "2026-11-22T16:01:00+00:00", "2026-11-22T16:12:34+00:00")
    stages = (("baseline", None, 10.0), ("finetune", 1, 50.0), ("finetune", 2, 60.5))
    learnt = [epoch(number, 0.9 - 0.2 * (number - 1) / (epochs - 1)) for number in range(1, epochs + 1)]
    curves = (learnt, [epoch(1, 0.4)], [])
    return [
        StageRecord(stage, 1, {}, "key", stage, rung, False, seconds, seconds, moment, {}, {"curve": curve})
        for (stage, rung, seconds), moment, curve in zip(stages, moments, curves, strict=True)
    ]


def epoch(number: int, loss: float) -> dict[str, Any]:
    return asdict(Epoch(number, 2, {"boxes": loss}, 0.01, 1.0))


def write_folder(run_dir: Path, report: RunReport, epochs: int = 2) -> None:
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "report.json").write_text(json.dumps(report_dict(report, run_dir)))
    (run_dir / "report.html").write_text("<p>")
    (run_dir / "records.jsonl").write_text("".join(json.dumps(asdict(record)) + "\n" for record in records(epochs)))


def write_plan(folder: Path, targets: Sequence[float]) -> None:
    """What was asked in a sweep's folder: a job a target."""
    jobs = [["name=demo", f"schedule.target={target}"] for target in targets]
    overrides = ["name=demo", f"schedule.target={','.join(map(str, targets))}"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sweep.json").write_text(json.dumps({"overrides": overrides, "jobs": jobs, "format": 1}))


def of_job(folder: Path, number: int, report: RunReport) -> RunReport:
    """The report of a job of that sweep."""
    (target,) = json.loads((folder / "sweep.json").read_text())["jobs"][number][1:]
    return replace(report, id=f"{folder.name}/{number}", command=f"secateur run name=demo {target}")


def open_sink(uri: str, run_dir: Path, report: RunReport) -> MlflowSink:
    header = RunHeader(report.id, report.name, report.spec, report.versions, report.git, report.command)
    return MlflowSink(uri, "trials", header, run_dir)


def log_live(uri: str, run_dir: Path, report: RunReport, epochs: int = 2) -> str:
    """As the pipeline tells it; the new run's id."""
    sink = open_sink(uri, run_dir, report)
    for record in records(epochs):
        curve = record.outputs["curve"]
        for told in curve[:-1] or curve:  # the last one is known from the record only
            sink.epoch_finished(record.label, record.rung, Epoch(**told))
        sink.stage_finished(record)
    for rung in report.rungs[:2]:
        sink.rung_finished(rung)
    sink.run_finished(report)
    return sink.run_id


def client(uri: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(uri)


def history(uri: str, run_id: str, metric: str) -> list[tuple[int, float]]:
    return sorted((entry.step, entry.value) for entry in client(uri).get_metric_history(run_id, metric))


def everything(uri: str, run_id: str) -> dict[str, Any]:
    """But for what the machine did meanwhile, which live runs of more than seconds tell."""
    data = client(uri).get_run(run_id).data
    metrics = {name: history(uri, run_id, name) for name in data.metrics if not name.startswith("system/")}
    return {"params": data.params, "tags": data.tags, "metrics": metrics}


def parents(uri: str) -> list[Any]:
    """The runs that stand for sweeps, in whatever experiment."""
    known = client(uri)
    told = known.search_runs([found.experiment_id for found in known.search_experiments()])
    return [run for run in told if "run_dir" not in run.data.tags]


# ---- many at once --------------------------------------------------------------------------------


def start_cold(uri: str, folder: Path, jobs: int, epochs: int = 2) -> str:
    """So many processes, let loose at the same moment, that each tell MLflow of a run; what went wrong, in their
    words."""
    job = subprocess.run(
        [sys.executable, "-m", "tests.example_tracking", uri, folder, str(jobs), str(epochs)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    return f"{job.stderr}{job.returncode or ''}"


def _start(uri: str, folder: Path, jobs: int, epochs: int) -> None:
    """The jobs of one sweep; forked, as importing mlflow that often takes long."""
    write_plan(folder, [round(0.1 + job / 1000, 3) for job in range(jobs)])
    forks = multiprocessing.get_context("fork")
    gate = forks.Barrier(jobs)
    started = [forks.Process(target=_one, args=(gate, uri, folder / str(job), epochs)) for job in range(jobs)]
    for job in started:
        job.start()
    for job in started:
        job.join()
    sys.exit(sum(job.exitcode != 0 for job in started))


def _one(gate: Barrier, uri: str, run_dir: Path, epochs: int) -> None:
    report = of_job(run_dir.parent, int(run_dir.name), finished())
    write_folder(run_dir, report, epochs)
    gate.wait()
    prepare(uri)
    log_live(uri, run_dir, report, epochs)


def lost(uri: str, folders: Iterable[Path]) -> int:
    """How many values of these runs are in no FINISHED run of theirs; each is compared with what a replay tells."""
    known = client(uri)
    experiments = [found.experiment_id for found in known.search_experiments()]
    finished = known.search_runs(experiments, f"attributes.status = 'FINISHED' AND {RUNS}")
    told = {run.data.tags["run_dir"]: _points(uri, run.info.run_id) for run in finished}
    return sum(len(_replayed(uri, folder) - told.get(folder.as_posix(), set())) for folder in folders)


def _replayed(uri: str, folder: Path) -> set[tuple[str, int, float]]:
    return _points(uri, replay(folder, uri, "alone"))


def _points(uri: str, run_id: str) -> set[tuple[str, int, float]]:
    """Only some metrics have several steps; asking for the history of each takes long."""
    metrics = client(uri).get_run(run_id).data.metrics
    stepwise = [name for name in metrics if name.startswith(("stage/", "train/", "rung/"))]
    points = {(name, *point) for name in stepwise for point in history(uri, run_id, name)}
    return points | {(name, 0, value) for name, value in metrics.items() if name not in stepwise}


if __name__ == "__main__":
    import mlflow.store.tracking.rest_store
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401

    _start(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
