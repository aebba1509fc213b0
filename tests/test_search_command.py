"""A whole search through the command line: killed in its first trial, gone on with, in the end by two workers."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow import MlflowClient

from secateur import searches
from tests.test_end_to_end import BRIEF, FEW, ONE_RUNG, PATIENCE_SECONDS, Place

pytestmark = pytest.mark.slow

SPACE = [
    *(f"search.space.{key}=null" for key in ("schedule", "scope", "imgsz")),
    "search.space.importance=[magnitude,lamp]",
    "search.margin=0",  # who is as good as another is behind it
]


@dataclass(frozen=True)
class Searched:
    """The search's folder, what the second start said, and its trials as they were then."""

    place: Place
    folder: Path
    said: str
    reports: dict[int, dict[str, Any]]
    arguments: list[str]


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory, detect_checkpoint: Path) -> Searched:
    """One trial; all processes of the first start were killed in it."""
    place = Place(tmp_path_factory.mktemp("search"))
    own = [f"model.weights={detect_checkpoint}", "finetune=none", "name=tiny"]
    arguments = [*BRIEF, *FEW, *ONE_RUNG, *own, *SPACE]
    folder = place.outputs / "searches" / "tiny"
    kill_in_first_trial(place, folder, [*arguments, "--trials", "1"])
    said = place.say(*arguments, "--trials", "1", command="search")
    return Searched(place, folder, said, dict(searches.reports(folder)), arguments)


def kill_in_first_trial(place: Place, folder: Path, arguments: list[str]) -> None:
    started = place.start(*arguments, command="search")
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end and started.poll() is None and not (folder / "0" / "records.jsonl").exists():
        time.sleep(0.05)
    assert started.poll() is None, started.communicate()
    everyone = [*psutil.Process(started.pid).children(recursive=True), psutil.Process(started.pid)]
    for process in everyone:
        process.kill()
    started.communicate()
    psutil.wait_procs(everyone, timeout=PATIENCE_SECONDS)


def test_a_killed_search_goes_on_with_the_trial_that_it_was_at(searched: Searched) -> None:
    assert list(searched.reports) == [0]
    assert searched.reports[0]["run"]["status"] == "finished"
    assert "trials: 1 finished" in searched.said


def test_the_front_is_shown_with_what_repeats_it(searched: Searched) -> None:
    assert "The front: none of these is beaten" in searched.said
    assert "secateur run imgsz=64" in searched.said


def test_mlflow_holds_a_run_a_trial_tagged_with_the_search(searched: Searched) -> None:
    client = MlflowClient(f"sqlite:///{searched.place.outputs / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("secateur")
    assert experiment
    runs = client.search_runs([experiment.experiment_id], "tags.search = 'tiny' AND attributes.status = 'FINISHED'")

    assert {Path(run.data.tags["run_dir"]) for run in runs} == {searched.folder / "0"}


def test_a_trial_that_another_is_ahead_of_is_stopped(searched: Searched) -> None:
    first = searched.reports[0]
    shipping = first | {"selected": "pruned-fp32"}  # whatever the clock preferred
    (searched.folder / "0" / "report.json").write_text(json.dumps(shipping))

    said = searched.place.say(*searched.arguments, "--trials", "2", "--workers", "2", command="search")

    (new,) = searches.reports(searched.folder).keys() - {0}
    told = searches.reports(searched.folder)[new]["run"]
    assert {key for key in told["spec"] if told["spec"][key] != first["run"]["spec"][key]} == {"importance"}
    assert told["status"] == "stopped"
    assert told["error"].startswith("stopped early: after rung 1 it has mAP 0.0")
    assert "trials: 1 finished, 1 stopped early" in said
    assert "after rung 1" in (searched.folder / str(new) / "console.log").read_text()
