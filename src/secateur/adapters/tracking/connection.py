"""How MLflow is reached: the library, a client, the lock beside a database, and what cannot be told in one line."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from secateur.errors import TrackingError

if TYPE_CHECKING:
    from mlflow import MlflowClient


def prepare(uri: str) -> None:
    """Creates and migrates a SQLite database; safe when many processes start at once against none."""
    with told_in_one_line(uri):
        connect(uri).search_experiments(max_results=1)


def serve(uri: str, port: int) -> int:
    """MLflow's own pages on 127.0.0.1, until they are stopped; the exit code."""
    prepare(uri)
    options = {"--backend-store-uri": uri, "--host": "127.0.0.1", "--port": str(port), "--workers": "1"}
    command = [sys.executable, "-m", "mlflow", "ui", *(word for option in options.items() for word in option)]
    return subprocess.run(command, check=False).returncode


def experiment_of(client: MlflowClient, uri: str, name: str) -> str:
    with _alone(uri):
        found = client.get_experiment_by_name(name)
        return found.experiment_id if found else client.create_experiment(name, artifact_location=_artifacts(uri))


def connect(uri: str) -> MlflowClient:
    """The client alone: it knows no active run, no global tracking uri and no `MLFLOW_RUN_ID`."""
    mlflow = library()
    with _alone(uri):  # opening a database makes or migrates it
        client: MlflowClient = mlflow.MlflowClient(uri)
    return client


def library() -> ModuleType:
    """The library, silenced before it is imported: no calls home, no chatter about migrations."""
    os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # else a dead server holds a run up for minutes
    import mlflow

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return mlflow


@contextmanager
def told_in_one_line(uri: str) -> Iterator[None]:
    from sqlalchemy.exc import SQLAlchemyError  # MLflow lets those of opening a database through

    try:
        yield
    except (library().exceptions.MlflowException, SQLAlchemyError, OSError) as error:
        raise TrackingError(f"MLflow at {uri} cannot be used: {one_line(error)}") from error


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


def one_line(error: Exception) -> str:
    return textwrap.shorten((str(error).splitlines() or [type(error).__name__])[0], 240, placeholder=" …")
