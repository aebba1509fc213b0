"""What lies in folders, brought into MLflow."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from secateur.adapters.tracking.connection import connect, experiment_of, library, one_line, told_in_one_line
from secateur.adapters.tracking.parents import parent_in
from secateur.adapters.tracking.run import Run, milliseconds, now, open_run, run_of
from secateur.errors import TrackingError
from secateur.manifest import DEVICES, DeviceReport, devices_of, limited, read
from secateur.records import records_in

_log = logging.getLogger(__name__)


def replay(run_dir: Path, uri: str, experiment: str) -> str:
    """Logs a run's folder as the live sink would have, in place of what MLflow has of it; the new MLflow run's id."""
    summary, records = _read(run_dir)
    devices = devices_of(run_dir)  # before a run is opened, which a damaged one would leave half told
    end = max((milliseconds(record["finished"]) for record in records), default=now())
    start = end - int(1000 * summary["run"]["seconds"])
    with told_in_one_line(uri):
        run = open_run(uri, experiment, summary["run"], run_dir, start)
        with _whole(run):
            for record in records:
                run.log_stage(record)
            run.log_results(summary, end)
            run.attach(run_dir)
            for path, report in devices.items():
                run.log_device(report, path)
            run.close(summary["run"]["status"], end)
        run.take_the_place(run_dir)
        run.settle(end)
    return run.id


def settle_group(folder: Path, uri: str, experiment: str) -> None:
    """That a sweep or a search is over, for now: what has no report is not going to have one. Where MLflow does not
    take it there is a warning, as the folders tell it too; nothing where no job of it was told."""
    try:
        with told_in_one_line(uri):
            client = connect(uri)
            if parent := parent_in(client, experiment_of(client, uri, experiment), folder):
                parent.settle(now(), over=True)
    except TrackingError as error:
        _log.warning("MLflow was not told how %s ended: %s", folder, one_line(error))


@contextmanager
def _whole(run: Run) -> Iterator[None]:
    """Never half a run: what could not be told in full is thrown away, as far as MLflow still answers."""
    try:
        yield
    except BaseException:
        with suppress(library().exceptions.MlflowException):
            run.throw_away()
        raise


def replay_device(path: Path, uri: str, experiment: str, outputs: Path) -> str:
    """Logs what a device found out about a run beside what the run itself did, and keeps the file in the run's folder,
    unless a newer one of the device is there, so that it comes along when that is replayed; doing so twice changes
    nothing. The MLflow run's id."""
    report = read(limited(path), DeviceReport, path)
    folder = next(
        filter(Path.is_dir, (outputs / kind / report.run_id for kind in ("runs", "sweeps", "searches"))), None
    )
    kept = _keep(report, path, folder / DEVICES / f"{report.slug}.json") if folder else None
    with told_in_one_line(uri):
        client = connect(uri)
        experiment_id = experiment_of(client, uri, experiment)
        if found := run_of(client, experiment_id, report.run_id, folder):
            Run(client, experiment_id, found).log_device(report, kept or path)
            return found
    if kept:
        raise TrackingError(f"MLflow has no run {report.run_id}; {kept} is kept: secateur replay {folder}")
    raise TrackingError(f"no run {report.run_id} in MLflow at {uri}, nor in {outputs}; say where it is with --uri")


def _keep(report: DeviceReport, path: Path, target: Path) -> Path:
    """Never half a file, and never an older one in place of a newer."""
    if target.exists() and read(limited(target), DeviceReport, target).moment > report.moment:
        return target
    target.parent.mkdir(exist_ok=True)
    beside = target.with_name(f".{target.name}.part")
    shutil.copyfile(path, beside)
    return beside.replace(target)


def _read(run_dir: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The report, and the records, of which a run that failed at once has none."""
    try:
        summary = json.loads((run_dir / "report.json").read_text())
        return summary, records_in(run_dir)
    except (OSError, ValueError) as error:
        line = f"{run_dir} holds no finished run to replay: {one_line(error)}"
        raise TrackingError(f"{line}; one that was killed goes on with the command that began it") from error
