"""The runs that MLflow has, read back from what was attached to them: the same as their folders tell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

from secateur.adapters.tracking.connection import connect, is_there, shown, told_in_one_line
from secateur.comparisons import Run, read_run
from secateur.errors import TrackingError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

PAGE = 1000
"""So many runs a request."""


def runs_in(uri: str, experiment: str, where: str = "") -> list[Run]:
    """The ended runs of an experiment that MLflow's filter lets through; raises TrackingError where
    there is none, or the filter cannot be read."""
    if not is_there(uri):
        raise TrackingError(f"there is no database at {shown(uri)}; say where the runs are tracked with --uri")
    with told_in_one_line(uri), TemporaryDirectory(prefix="secateur-") as folder:
        client = connect(uri)
        found = client.get_experiment_by_name(experiment)
        if found is None:
            raise TrackingError(f"MLflow at {shown(uri)} has no experiment {experiment!r}; name it with --experiment")
        runs = [
            read_run(_attached(client, run, Path(folder)), run.data.tags["run_dir"])
            for run in _pages(client, found.experiment_id, where)
            if "run_dir" in run.data.tags and run.info.end_time
        ]
    if not runs:
        aside = f" that {where!r} lets through" if where else ""
        raise TrackingError(f"MLflow at {shown(uri)} has no run in {experiment!r}{aside}")
    return runs


def _pages(client: MlflowClient, experiment: str, where: str) -> Iterator[MlflowRun]:
    token = None
    while True:
        page = client.search_runs([experiment], where, 1, PAGE, ["attributes.start_time ASC"], token)  # 1: not deleted
        yield from page
        token = page.token
        if not token:
            return


def _attached(client: MlflowClient, run: MlflowRun, folder: Path) -> Path:
    """Where the files attached to the run lie; of a server's, copies of those that are read here."""
    place = urlparse(run.info.artifact_uri)
    if place.scheme in ("", "file"):
        return Path(unquote(place.path))
    copies = folder / run.info.run_id
    copies.mkdir()
    names = {file.path for file in client.list_artifacts(run.info.run_id)}
    for name in names & {"report.json", "devices"}:
        client.download_artifacts(run.info.run_id, name, str(copies))
    return copies
