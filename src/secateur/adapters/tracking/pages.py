"""MLflow's own pages: where they are, and what they show first."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from secateur.adapters.tracking.connection import SILENT, connect, prepare, takes_a_server, told_in_one_line
from secateur.adapters.tracking.parents import PARENT, PLACE
from secateur.adapters.tracking.views import NAME, show_side_by_side
from secateur.interrupts import served_by

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

PAGES_ONLY = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
"""MLflow's own jobs, of which there are none here, take eight more processes."""

_TRAINING = {"workflowType": "machine_learning"}
"""What makes the menu beside the pages that of training runs, not of chats."""

ENDED = "attributes.status = 'FINISHED'"

_MOST = 100  # runs in an address, each 35 letters


def serve(uri: str, port: int) -> int:
    """MLflow's own pages on 127.0.0.1, until they are stopped, with all their processes; the exit code."""
    if not takes_a_server(uri):  # of other databases the server is the only one that opens them
        prepare(uri)
    options = {"--backend-store-uri": uri, "--host": "127.0.0.1", "--port": str(port), "--workers": "1"}
    command = [sys.executable, "-P", "-m", "mlflow", "ui", *(word for option in options.items() for word in option)]
    return served_by(command, PAGES_ONLY | os.environ | SILENT)


def first_page(uri: str, port: int) -> str:
    """What to open once `serve` has begun: the runs of the newest sweep or search side by side, as far as they have
    ended; where there are no two of these, the experiment of the newest run; or MLflow's home."""
    if takes_a_server(uri):
        return _page(port)
    with told_in_one_line(uri):
        client = connect(uri)
        experiments = [found.experiment_id for found in client.search_experiments()]
        if runs := _newest_group(client, experiments):
            chosen = {"runs": [run.info.run_id for run in runs], "experiments": [runs[0].info.experiment_id]}
            return _page(port, "compare-runs", {key: _typed(values) for key, values in chosen.items()})
        newest = client.search_runs(experiments, max_results=1)
    return _page(port, f"experiments/{newest[0].info.experiment_id}/runs") if newest else _page(port)


def table_page(uri: str, port: int) -> str | None:
    """The same runs as a table with what differs and what came of it as its columns, and mAP over latency among its
    charts; None where `first_page` compares none."""
    if takes_a_server(uri):
        return None
    with told_in_one_line(uri):
        client = connect(uri)
        runs = _newest_group(client, [found.experiment_id for found in client.search_experiments()])
        if not runs:
            return None
        experiment_id, parent = runs[0].info.experiment_id, runs[0].data.tags[PARENT]
        show_side_by_side(client, experiment_id, runs, f"tags.`{PARENT}` = '{parent}' AND {ENDED}")
    return _page(port, f"experiments/{experiment_id}/runs", {"viewStateShareKey": NAME})


def _newest_group(client: MlflowClient, experiments: list[str]) -> list[MlflowRun]:
    """The jobs with results of the newest sweep or search that has two of them; none where there is no such."""
    for parent in client.search_runs(experiments, f"tags.{PLACE} LIKE '%'", max_results=_MOST):
        if len(runs := _told_by(client, parent)) > 1:
            return runs
    return []


def _told_by(client: MlflowClient, parent: MlflowRun) -> list[MlflowRun]:
    """The jobs that have results, by their number."""
    of_it = f"tags.`{PARENT}` = '{parent.info.run_id}' AND {ENDED}"
    runs = client.search_runs([parent.info.experiment_id], of_it, max_results=_MOST)
    return sorted(runs, key=lambda run: run.info.start_time)


def _page(port: int, name: str = "", query: Mapping[str, str] | None = None) -> str:
    told = {**(query or {}), **_TRAINING} if name else {}  # in this order: the comparison takes `runs` for the first
    return f"http://127.0.0.1:{port}/#/{name}" + (f"?{urlencode(told, quote_via=quote)}" if told else "")


def _typed(values: list[str]) -> str:
    return json.dumps(values, separators=(",", ":"))
