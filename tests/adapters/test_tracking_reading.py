from dataclasses import replace
from pathlib import Path

import pytest

from secateur.adapters.tracking import replay, runs_in
from secateur.comparisons import compared
from secateur.comparisons import runs_in as runs_in_folders
from secateur.errors import TrackingError
from secateur.reporting.comparison import FORMATS
from tests.adapters.servers import free_port, mlflow_server
from tests.example_report import failed, finished
from tests.example_tracking import open_sink, write_folder


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def write_three(outputs: Path, uri: str) -> None:
    """Two runs that differ in what was asked, and one that failed; told to MLflow."""
    reports = [replace(finished(), id=name, command=f"secateur run name={name}") for name in ("one", "two")]
    for report in [*reports, failed()]:
        write_folder(outputs / report.id, report)
        replay(outputs / report.id, uri, "trials")


@pytest.mark.parametrize("form", FORMATS)
def test_mlflow_and_the_folders_give_the_same(form: str, tmp_path: Path, uri: str) -> None:
    write_three(tmp_path / "runs", uri)

    theirs, ours = compared(runs_in(uri, "trials"), every=True), compared(runs_in_folders([tmp_path / "runs"]), True)

    assert FORMATS[form](theirs, None) == FORMATS[form](ours, None)


def test_a_filter_takes_only_the_runs_that_it_lets_through(tmp_path: Path, uri: str) -> None:
    write_three(tmp_path / "runs", uri)

    found = runs_in(uri, "trials", "tags.command LIKE '%name=two%'")

    assert [run.report["run"]["id"] for run in found] == ["two"]


def test_a_run_that_goes_on_is_left_out(tmp_path: Path, uri: str) -> None:
    write_three(tmp_path / "runs", uri)
    write_folder(tmp_path / "live", finished())
    open_sink(uri, tmp_path / "live", finished())

    assert len(runs_in(uri, "trials")) == 3


def test_what_is_wrong_is_told_in_one_line_and_no_database_is_made(tmp_path: Path, uri: str) -> None:
    with pytest.raises(TrackingError, match="there is no database at .*--uri"):
        runs_in(uri, "trials")
    assert not list(tmp_path.iterdir())

    write_three(tmp_path / "runs", uri)

    with pytest.raises(TrackingError, match="no experiment 'other'"):
        runs_in(uri, "other")
    with pytest.raises(TrackingError, match="has no run in 'trials' that \"tags.study = 'x'\" lets through"):
        runs_in(uri, "trials", "tags.study = 'x'")
    with pytest.raises(TrackingError, match="^[^\n]*cannot be used: [^\n]*$"):
        runs_in(uri, "trials", "rate > 3")


@pytest.mark.slow
def test_a_servers_runs_are_read_from_copies(tmp_path: Path, uri: str) -> None:
    port = free_port()
    with mlflow_server(uri, tmp_path, port):
        address = f"http://127.0.0.1:{port}"
        write_three(tmp_path / "runs", address)

        found = compared(runs_in(address, "trials"), every=True)

    assert FORMATS["json"](found, None) == FORMATS["json"](compared(runs_in_folders([tmp_path / "runs"]), True), None)
