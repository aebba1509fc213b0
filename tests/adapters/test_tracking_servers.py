import logging
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import psutil
import pytest

from secateur.adapters.tracking import MlflowSink, pages, register, replay
from tests.adapters.servers import free_port, kill, mlflow_server, postgres, secateur_ui
from tests.example_report import finished
from tests.example_run import write_run
from tests.example_tracking import (
    client,
    everything,
    log_live,
    lost,
    open_sink,
    parents,
    records,
    start_cold,
    write_folder,
)

pytestmark = pytest.mark.slow

ENDS_WITHIN = 30
"""Seconds."""


@pytest.fixture
def on_postgres(tmp_path: Path) -> Iterator[str]:
    port = free_port()
    with postgres() as database, mlflow_server(database, tmp_path, port):
        yield f"http://127.0.0.1:{port}"


def test_processes_that_start_cold_at_once_against_a_server_on_postgresql_lose_nothing(
    on_postgres: str, tmp_path: Path
) -> None:
    said = start_cold(on_postgres, tmp_path, jobs=16)

    assert said == ""
    assert lost(on_postgres, [tmp_path / str(job) for job in range(16)]) == 0
    assert [run.info.status for run in parents(on_postgres)] == ["FINISHED", "FINISHED"]


@dataclass(frozen=True)
class Outage:
    """Two runs whose server is killed when they have begun: one ends while it is gone, one when it is back."""

    during: list[str]
    """What was said of the run that ended meanwhile."""
    seconds: float
    """What its sink took from then on."""
    after: list[str]
    """What was said of the other one."""
    caught_up: dict[str, Any]
    replayed: dict[str, Any]
    replayed_again: dict[str, Any]
    undisturbed: dict[str, Any]
    """What MLflow has in the end of those two, and of one that nothing disturbed."""
    folders: list[str]
    """Of all the runs that MLflow shows in the end."""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What whoever comes first has made and migrated, which takes long."""
    return f"sqlite:///{tmp_path_factory.mktemp('database') / 'server.db'}"


@pytest.fixture(scope="module")
def outage(database: str, tmp_path_factory: pytest.TempPathFactory) -> Outage:
    place, port = tmp_path_factory.mktemp("outage"), free_port()
    uri = f"http://127.0.0.1:{port}"
    ended, going_on, undisturbed = places = [place / name for name in ("ended", "going_on", "undisturbed")]
    for run_dir in places:
        write_folder(run_dir, finished(), epochs=30)
    with mlflow_server(database, place, port) as server:
        sinks = [open_sink(uri, run_dir, finished()) for run_dir in (ended, going_on)]
        sinks[0].stage_finished(records(30)[0])
        kill(server)
        started = time.perf_counter()
        with said() as during:
            go_on(sinks[0])
        seconds = time.perf_counter() - started
        with said() as after:
            sinks[1].stage_finished(records(30)[0])
    with mlflow_server(database, place, port):
        with said() as still:
            go_on(sinks[1])
        caught_up = everything(uri, sinks[1].run_id)
        replayed = everything(uri, replay(ended, uri, "trials"))
        replayed_again = everything(uri, replay(ended, uri, "trials"))
        plain = everything(uri, log_live(uri, undisturbed, finished(), epochs=30))
        experiment = client(uri).get_experiment_by_name("trials").experiment_id
        folders = [Path(run.data.tags["run_dir"]).name for run in client(uri).search_runs([experiment])]
    return Outage(during, seconds, after + still, caught_up, replayed, replayed_again, plain, sorted(folders))


def go_on(sink: MlflowSink) -> None:
    """The rest of a run."""
    for record in records(30)[1:]:
        sink.stage_finished(record)
    for rung in finished().rungs:
        sink.rung_finished(rung)
    sink.run_finished(finished())


@contextmanager
def said() -> Iterator[list[str]]:
    """The warnings that a person would see."""
    lines: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    try:
        yield lines
    finally:
        logging.getLogger().removeHandler(handler)


def test_a_run_whose_server_is_gone_says_so_once_and_how_to_bring_it_in_at_its_end(outage: Outage) -> None:
    first, last = outage.during

    assert "MLflow did not take a result" in first
    assert "secateur replay" in last


def test_a_server_that_is_gone_holds_a_run_up_for_seconds_only(outage: Outage) -> None:
    assert outage.seconds < 10


def test_replay_brings_all_in_when_the_server_is_back_and_twice_changes_nothing(outage: Outage) -> None:
    assert outage.replayed["metrics"] == outage.undisturbed["metrics"]
    assert outage.replayed_again == outage.replayed


def test_a_run_that_ends_when_the_server_is_back_brings_all_in_itself(outage: Outage) -> None:
    assert len(outage.after) == 1
    assert outage.caught_up["metrics"] == outage.undisturbed["metrics"]


def test_mlflow_shows_one_run_a_folder_after_an_outage(outage: Outage) -> None:
    assert outage.folders == ["ended", "going_on", "undisturbed"]


def test_what_is_registered_with_a_server_can_be_loaded_from_it(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow.onnx

    port, run_dir = free_port(), write_run(tmp_path)
    uri = f"http://127.0.0.1:{port}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with mlflow_server(database, tmp_path, port):
        found = register(run_dir, "pruned-fp32", uri)
        again = register(run_dir, "pruned-fp32", uri)
        loaded = mlflow.onnx.load_model(found.uri)

    assert loaded == onnx.load(run_dir / "models" / "pruned-fp32.onnx")
    assert (found.is_new, again.is_new, again.version) == (True, False, found.version)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_mlflows_pages_are_there_for_this_machine_alone_and_end_with_all_their_processes(
    number: int, database: str, tmp_path: Path
) -> None:
    port = free_port()
    with secateur_ui(database, tmp_path, port) as server:
        below = psutil.Process(server.pid).children(recursive=True)
        everyone = [psutil.Process(server.pid), *below]
        open_for = {end.laddr.ip for each in everyone for end in each.net_connections() if is_listening(end)}
        server.send_signal(number)
        code = server.wait(ENDS_WITHIN)

    assert code == 130
    assert open_for == {"127.0.0.1"}
    assert f"Open     http://127.0.0.1:{port}/#/" in (tmp_path / "server.log").read_text()
    assert len(below) > 1
    assert [process.cmdline() for process in below if process.is_running()] == []
    socket.create_server(("127.0.0.1", port)).close()


def is_listening(end: Any) -> bool:
    return end.status == psutil.CONN_LISTEN


@pytest.mark.parametrize("uri", ["postgresql+psycopg2://there/mlflow", "http://there:5000"])
def test_mlflows_pages_call_nobody_whatever_the_environment_says(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "false")
    monkeypatch.setattr(pages, "prepare", lambda uri: None)  # nobody is there
    started: list[Mapping[str, str]] = []
    monkeypatch.setattr(pages, "served_by", lambda command, environment: started.append(environment))

    pages.serve(uri, 5000)

    assert [started[0][name] for name in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK")] == ["true", "true"]
