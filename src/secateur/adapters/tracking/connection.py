"""How MLflow is reached: the library, a client, the lock beside a database, and what cannot be told in one line."""

from __future__ import annotations

import logging
import os
import re
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

SILENT = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
"""Environment in which MLflow calls nobody."""

PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
"""With MLflow's own, a server that is gone holds each request up for minutes: about 1 s with these where nothing
listens, 1 min where nothing answers."""

MODELS = {"mlflow.experimentKind": "custom_model_development"}
"""What makes the pages those of training runs, not of chats."""


def prepare(uri: str) -> None:
    """Creates and migrates a SQLite database; safe when many processes start at once against none."""
    with told_in_one_line(uri):
        connect(uri).search_experiments(max_results=1)


def experiment_of(client: MlflowClient, uri: str, name: str) -> str:
    """Its id; made where it is missing."""
    with alone(uri):
        return _found(client, name) or _made(client, uri, name)


def _found(client: MlflowClient, name: str) -> str | None:
    experiment = client.get_experiment_by_name(name)
    return experiment.experiment_id if experiment else None


def _made(client: MlflowClient, uri: str, name: str) -> str:
    try:
        made: str = client.create_experiment(name, _artifacts(uri), MODELS)
    except library().exceptions.MlflowException:
        if found := _found(client, name):  # by another client of the same server, a moment ago
            return found
        raise
    return made


def connect(uri: str) -> MlflowClient:
    """The client alone: it knows no active run, no global tracking uri and no `MLFLOW_RUN_ID`."""
    mlflow = library()
    if takes_a_server(uri):
        raise TrackingError(
            f"tracking.uri {shown(uri)} is a database, which jobs that open it at once break: start a server on it "
            "(mlflow server --backend-store-uri …) and give its address, http://host:port"
        )
    with alone(uri):  # opening a database makes or migrates it
        client: MlflowClient = mlflow.MlflowClient(uri)
    return client


def library() -> ModuleType:
    """The library, silenced before it is imported: no calls home, no chatter about migrations."""
    os.environ.update(SILENT)
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    import mlflow

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # what comes of its retries is told here
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # so is what a database did not take
    return mlflow


@contextmanager
def told_in_one_line(uri: str) -> Iterator[None]:
    """What is done meanwhile is done alone; what fails is a TrackingError."""
    from sqlalchemy.exc import SQLAlchemyError  # MLflow lets those of opening a database through

    try:
        with alone(uri):
            yield
    except (library().exceptions.MlflowException, SQLAlchemyError, OSError) as error:
        raise TrackingError(f"MLflow at {shown(uri)} cannot be used: {one_line(error)}") from error


def alone(uri: str) -> AbstractContextManager[Any]:
    """Holds the lock beside a SQLite database, which may be held already: MLflow's first migration breaks when two
    processes make it, and of many that write at once some wait longer than SQLite's 20 s, and fail."""
    database = _database(uri)
    if database is None:
        return nullcontext()
    database.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(f"{database}.lock", is_singleton=True)


def takes_a_server(uri: str) -> bool:
    """A database other than SQLite: MLflow's migrations of it break each other, and it has no folder for files."""
    return re.match(r"(postgresql|mysql|mssql)\b", uri) is not None


def shown(uri: str) -> str:
    """Without a password."""
    return re.sub(r"//[^/@]*@", "//", uri)


def is_there(uri: str) -> bool:
    """Whether there is a database, which opening would make; of a server, only asking it can tell."""
    database = _database(uri)
    return database is None or database.exists()


def _artifacts(uri: str) -> str | None:
    """A folder beside a SQLite database; a server chooses its own."""
    database = _database(uri)
    return (database.parent / "mlflow-artifacts").as_uri() if database else None


def _database(uri: str) -> Path | None:
    path = uri.removeprefix("sqlite:///")
    return Path(path).absolute() if path != uri else None


def one_line(error: Exception) -> str:
    """The first line of what it says, 240 letters at most; its class' name where it says nothing."""
    return textwrap.shorten((str(error).splitlines() or [type(error).__name__])[0], 240, placeholder=" …")
