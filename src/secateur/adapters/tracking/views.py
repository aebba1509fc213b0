"""What MLflow's page of runs shows first: columns and charts, kept in a tag of the experiment as MLflow keeps the views
that its button "Share" makes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

NAME = "secateur"
"""What the view is called in an address: `viewStateShareKey=secateur`."""

_TAG = f"mlflow.sharedViewState.{NAME}"
_MOST = 3  # parameters, as on the axes of MLflow's own comparison
_LATENCY = "final/latency_ms_p50"


def show_side_by_side(client: MlflowClient, experiment_id: str, runs: Sequence[MlflowRun], where: str) -> None:
    """Makes it the view of the runs that MLflow's filter `where` finds, of which `runs` are those with results."""
    segments = any("final/mask_map50_95" in run.data.metrics for run in runs)
    view = _view(_differing(runs), "final/mask_map50_95" if segments else "final/box_map50_95", where)
    client.set_experiment_tag(experiment_id, _TAG, json.dumps(view, separators=(",", ":")))


def _view(params: list[str], accuracy: str, where: str) -> dict[str, Any]:
    """In the words of MLflow's page; what is not said here it takes as it always does."""
    metrics = [accuracy, f"{accuracy}_change", _LATENCY, "final/speedup", "final/size_mb"]
    axes: dict[str, Any] = {
        "type": "PARALLEL",
        "selectedParams": params,
        "selectedMetrics": [accuracy, _LATENCY],
        "showAllRuns": False,
    }
    plane: dict[str, Any] = {"type": "SCATTER", "xaxis": _metric(_LATENCY), "yaxis": _metric(accuracy)}
    return {
        "searchFilter": where,
        "orderByKey": f"metrics.`{_LATENCY}`",  # where it is the start, the runs hide in their parent
        "orderByAsc": True,
        "selectedColumns": [f"params.`{name}`" for name in params] + [f"metrics.`{name}`" for name in metrics],
        "runsHiddenMode": "SHOW_ALL",
        "isAccordionReordered": True,  # else its sections stand by the alphabet
        "compareRunSections": [{"uuid": NAME, "name": "side by side", "display": True, "isReordered": True}],
        "compareRunCharts": [
            {**chart, "uuid": f"{NAME}-{number}", "metricSectionId": NAME, "runsCountToCompare": 100, "deleted": False}
            for number, chart in enumerate((axes, plane))
        ],
    }


def _metric(name: str) -> dict[str, Any]:
    return {"key": name, "type": "METRIC"}


def _differing(runs: Sequence[MlflowRun]) -> list[str]:
    """The parameters in which the runs differ, what pruning takes away first."""
    names = sorted({name for run in runs for name in run.data.params})
    found = [name for name in names if len({run.data.params.get(name) for run in runs}) > 1]
    return sorted(found, key=lambda name: name != "schedule.target")[:_MOST]
