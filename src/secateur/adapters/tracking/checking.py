"""Whether MLflow is where the runs are to be tracked."""

from __future__ import annotations

from secateur.adapters.tracking.connection import connect, is_there, shown, told_in_one_line
from secateur.checkup import Check
from secateur.errors import TrackingError

REMEDY = "start its server, or name another place: --uri here, tracking.uri=… of a run; tracking=none does without"


def check(uri: str) -> Check:
    """A database that is not there yet is not made."""
    if not is_there(uri):
        return Check("place", "mlflow", "ok", f"{shown(uri)} is not there yet; the first run makes it")
    try:
        with told_in_one_line(uri):
            count = len(connect(uri).search_experiments())
    except TrackingError as error:
        return Check("place", "mlflow", "problem", str(error), REMEDY)
    return Check("place", "mlflow", "ok", f"{shown(uri)} answers: {count} experiment{'s' * (count != 1)}")
