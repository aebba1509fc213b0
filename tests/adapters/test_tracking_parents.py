"""A sweep in MLflow: a run that is the parent of its jobs'."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from secateur.adapters.tracking import first_page, replay, settle_group, table_page
from secateur.results import RunReport
from tests.example_report import detector, failed, finished
from tests.example_tracking import client, everything, log_live, of_job, open_sink, parents, write_folder, write_plan

TRAINING = "workflowType=machine_learning"
"""Of MLflow's two menus the one for runs."""

Job = Callable[[int, RunReport], str]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one test has made and migrated, which takes long."""
    path: Path = tmp_path_factory.mktemp("tracking") / "mlflow.db"
    client(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def uri(database: Path, tmp_path: Path) -> str:
    shutil.copyfile(database, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def night(tmp_path: Path) -> Path:
    """A sweep of two jobs that have not begun."""
    folder = tmp_path / "sweeps" / "night"
    write_plan(folder, [0.3, 0.6])
    return folder


def done(uri: str, night: Path, number: int, report: RunReport) -> str:
    """A job, as the pipeline tells of it; its run's id."""
    told = of_job(night, number, report)
    write_folder(night / str(number), told)
    return log_live(uri, night / str(number), told)


def the_parent(uri: str) -> Any:
    (parent,) = parents(uri)
    return parent


def test_the_jobs_of_a_sweep_are_the_children_of_one_run_that_says_what_was_asked(uri: str, night: Path) -> None:
    runs = [done(uri, night, number, finished()) for number in (0, 1)]

    parent = the_parent(uri)
    told = [client(uri).get_run(run) for run in runs]
    assert [run.data.tags["mlflow.parentRunId"] for run in told] == [parent.info.run_id] * 2
    assert [run.info.run_name for run in told] == ["demo 0 schedule.target=0.3", "demo 1 schedule.target=0.6"]
    assert (parent.info.run_name, parent.info.status) == ("night", "FINISHED")
    assert parent.data.tags["schedule.target"] == "0.3,0.6"
    assert parent.data.tags["command"] == "secateur run -m name=demo schedule.target=0.3,0.6"
    assert parent.data.tags["mlflow.note.content"].startswith("2 jobs: 2 finished\n")
    assert parent.data.tags["command"] in parent.data.tags["mlflow.note.content"]


def test_a_filter_for_the_sweep_finds_its_jobs_and_not_their_parent(uri: str, night: Path) -> None:
    runs = {done(uri, night, number, finished()) for number in (0, 1)}

    experiment = client(uri).get_experiment_by_name("trials").experiment_id
    found = client(uri).search_runs([experiment], "tags.sweep = 'night'")
    assert {run.info.run_id for run in found} == runs


def test_a_sweep_runs_until_its_last_job_has_ended(uri: str, night: Path) -> None:
    done(uri, night, 0, finished())
    assert the_parent(uri).info.status == "RUNNING"

    done(uri, night, 1, finished())
    assert the_parent(uri).info.status == "FINISHED"
    assert the_parent(uri).info.end_time >= the_parent(uri).info.start_time


@pytest.mark.parametrize("status", ["failed", "killed"])
def test_a_sweep_ends_as_the_worst_of_its_jobs(status: str, uri: str, night: Path) -> None:
    done(uri, night, 0, replace(failed(), status=status))
    done(uri, night, 1, finished())

    assert the_parent(uri).info.status == status.upper()


def test_a_sweep_that_was_killed_is_resumed_under_the_same_parent(uri: str, night: Path) -> None:
    done(uri, night, 0, finished())
    settle_group(night, uri, "trials")
    killed = the_parent(uri)

    sink = open_sink(uri, night / "1", of_job(night, 1, finished()))
    going_on = the_parent(uri)
    write_folder(night / "1", of_job(night, 1, finished()))
    sink.run_finished(of_job(night, 1, finished()))

    assert (killed.info.status, going_on.info.status, the_parent(uri).info.status) == ("KILLED", "RUNNING", "FINISHED")
    assert {killed.info.run_id, going_on.info.run_id} == {the_parent(uri).info.run_id}


def test_jobs_that_are_replayed_twice_keep_their_parent_and_change_nothing(uri: str, night: Path) -> None:
    for number in (0, 1):
        done(uri, night, number, finished())
    before = the_parent(uri)

    for number in (1, 0, 0):
        replayed = replay(night / str(number), uri, "trials")

    after = the_parent(uri)
    assert everything(uri, after.info.run_id) == everything(uri, before.info.run_id)
    assert (after.info.status, after.info.end_time) == (before.info.status, before.info.end_time)
    assert client(uri).get_run(replayed).data.tags["mlflow.parentRunId"] == before.info.run_id


def test_jobs_that_are_replayed_into_another_database_have_a_parent_there(uri: str, night: Path) -> None:
    for number in (1, 0):
        write_folder(night / str(number), of_job(night, number, finished()))
        replay(night / str(number), uri, "trials")

    parent = the_parent(uri)
    assert parent.info.status == "FINISHED"
    assert parent.info.end_time == 1795363954_000  # when the last record was written


def test_jobs_in_a_folder_that_takes_no_writes_can_be_replayed(
    uri: str, night: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(night / "0", of_job(night, 0, finished()))
    asked = os.access  # root may write anywhere
    monkeypatch.setattr(os, "access", lambda path, mode: path != night and asked(path, mode))

    replay(night / "0", uri, "trials")

    assert len(parents(uri)) == 1
    assert not (night / ".mlflow.lock").exists()


def test_the_report_of_a_sweep_goes_along_with_its_plan(uri: str, night: Path) -> None:
    done(uri, night, 0, finished())
    (night / "report.html").write_text("<p>")

    settle_group(night, uri, "trials")

    files = client(uri).list_artifacts(the_parent(uri).info.run_id)
    assert {file.path for file in files} == {"report.html", "sweep.json"}


def test_the_trials_of_a_search_are_the_children_of_one_run(uri: str, tmp_path: Path) -> None:
    folder = tmp_path / "searches" / "tiny"
    folder.mkdir(parents=True)
    plan = {"overrides": ["name=tiny"], "space": {"schedule.target": [0.3, 0.6]}, "margin": 0.01, "seed": 0}
    (folder / "search.json").write_text(json.dumps(plan))
    stopped = replace(failed(), status="stopped")
    for number, report in enumerate((finished(), stopped)):
        told = replace(report, id=f"tiny/{number}", command="secateur run name=tiny schedule.target=0.3")
        write_folder(folder / str(number), told)
        run = log_live(uri, folder / str(number), told)

    parent = the_parent(uri)
    assert client(uri).get_run(run).info.run_name == "demo 1 schedule.target=0.3"
    assert client(uri).get_run(run).data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert (parent.info.status, parent.data.tags["kind"]) == ("FINISHED", "search")
    assert "- `schedule.target`: [0.3, 0.6]" in parent.data.tags["mlflow.note.content"]


@pytest.mark.parametrize("plan", [None, "{", "[]", '{"jobs": 3}'])
def test_a_run_that_stands_alone_has_no_parent(plan: str | None, uri: str, tmp_path: Path) -> None:
    if plan:
        (tmp_path / "runs").mkdir()
        (tmp_path / "runs" / "sweep.json").write_text(plan)  # somebody else's
    write_folder(tmp_path / "runs" / "demo", finished())

    run = client(uri).get_run(log_live(uri, tmp_path / "runs" / "demo", finished()))

    assert parents(uri) == []
    assert "mlflow.parentRunId" not in run.data.tags


def test_that_a_sweep_is_over_costs_one_warning_where_mlflow_is_gone(
    night: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    settle_group(night, "http://127.0.0.1:9", "trials")

    (line,) = caplog.messages
    assert line.startswith(f"MLflow was not told how {night} ended: ")


def shown_in(address: str) -> dict[str, list[str]]:
    """What MLflow's page reads from its address."""
    asked = parse_qs(urlsplit(address.replace("/#/", "/")).query)
    return {key: json.loads(value) for key, (value,) in asked.items()}


def test_the_pages_begin_with_the_newest_sweep_side_by_side(uri: str, night: Path) -> None:
    older = night.with_name("evening")
    write_plan(older, [0.3, 0.6])
    for number in (0, 1):
        done(uri, older, number, finished())
    runs = [done(uri, night, number, finished()) for number in (0, 1)]

    address = first_page(uri, 5077)

    experiment = client(uri).get_experiment_by_name("trials").experiment_id
    assert address.startswith("http://127.0.0.1:5077/#/compare-runs?")
    assert address.endswith(TRAINING)
    assert shown_in(address.removesuffix(f"&{TRAINING}")) == {"runs": runs, "experiments": [experiment]}


def test_a_sweep_with_less_than_two_results_is_not_compared(uri: str, night: Path) -> None:
    done(uri, night, 0, finished())
    done(uri, night, 1, failed())

    experiment = client(uri).get_experiment_by_name("trials").experiment_id
    assert first_page(uri, 5000) == f"http://127.0.0.1:5000/#/experiments/{experiment}/runs?{TRAINING}"


def test_the_pages_of_nothing_begin_at_home(uri: str) -> None:
    assert first_page(uri, 5000) == "http://127.0.0.1:5000/#/"


def test_the_table_of_detectors_has_their_box_map(uri: str, night: Path) -> None:
    for number in (0, 1):
        done(uri, night, number, detector())

    address = table_page(uri, 5000)

    experiment = client(uri).get_experiment_by_name("trials")
    view = json.loads(experiment.tags["mlflow.sharedViewState.secateur"])
    assert address == (
        f"http://127.0.0.1:5000/#/experiments/{experiment.experiment_id}/runs?viewStateShareKey=secateur&{TRAINING}"
    )
    assert "metrics.`final/box_map50_95`" in view["selectedColumns"]
    of_it = f"tags.`mlflow.parentRunId` = '{the_parent(uri).info.run_id}'"
    assert view["searchFilter"] == f"{of_it} AND attributes.status = 'FINISHED'"


def test_there_is_no_table_of_one_run(uri: str, night: Path) -> None:
    done(uri, night, 0, finished())

    assert table_page(uri, 5000) is None
