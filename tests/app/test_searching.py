"""What is refused before a search begins, and what its trials are; whole searches are in test_search_command.py."""

import json
import logging
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from secateur.app import composing, searching
from secateur.app.running import run_in_folder
from secateur.edge.fingerprint import fingerprint
from secateur.errors import SpecError, StageError

ONE = [
    "search.space.schedule=null",
    "search.space.importance=null",
    "search.space.scope=null",
    "search.space.imgsz=null",
]
"""Leaves the quantization to be chosen."""


def search(*arguments: str, trials: int = 1, workers: int = 1) -> int:
    return searching.main(list(arguments), trials, workers)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["schedule.tarjet=0.2"], "unknown key 'schedule.tarjet'; see what there is with: secateur run --cfg job"),
        (["seed=1,2"], "seed=1,2 is a sweep's; a search takes search.space.seed=[…]"),
        (["search=wide"], "no search named 'wide'; there are default"),
        (["search.sapce=1"], "unknown key 'search.sapce'; see what there is in conf/search/default.yaml"),
        (["+search.sapce=1"], "unknown key 'search.sapce'; there are search.margin, search.seed, search.space"),
        (["search.margin=2"], "search.margin must be in [0, 1), or null, got 2"),
        (["search.margin=wide"], "search.margin must be in [0, 1), or null, got 'wide'"),
        (["search.seed=x"], "search.seed must be a whole number, 0 or more, got 'x'"),
        (["search.space=null"], "nothing is searched: give search.space.… a key, "),
        ([*ONE, "quantization=fp32"], "nothing is searched: give search.space.… a key, "),
        (["+search.space.name=[a,b]"], "search.space.name: all trials have the same name"),
        (["+search.space.tracking.name=[mlflow,none]"], "search.space.tracking.name: all trials have the same "),
        (["+search.space.hydra.verbose=[true,false]"], "search.space.hydra.verbose: all trials have the same "),
        (["+search.space={hydra/launcher:[basic,parallel]}"], "search.space.hydra/launcher: all trials have the same "),
        (["search.space.imgsz=640"], "search.space.imgsz must be a list of choices, or low, high and step, got 640"),
        (["search.space.imgsz=[64,100]"], "search.space, schedule.target=0.1 importance=magnitude scope=local "),
        (["search.space.schedule.target.high=1.1"], "search.space, schedule.target=1.1 importance=magnitude "),
        (["+search.space.schedul=[1,2]"], "search.space, schedule.target=0.1 importance=magnitude scope=local "),
        ([*ONE, "search.space.quantization=[tiny]"], "search.space, quantization=tiny: no quantization named 'tiny'; "),
    ],
    ids=str,
)
def test_a_search_that_cannot_be_is_refused_before_its_first_trial(
    arguments: list[str], line: str, folder: Path
) -> None:
    with pytest.raises(SpecError) as refusal:
        search(*arguments)

    assert str(refusal.value).startswith(line)
    assert "\n" not in str(refusal.value)
    assert not any(folder.iterdir())


@pytest.mark.parametrize(
    ("counts", "line"),
    [
        ({"trials": 0}, "--trials must be 1 or more, got 0"),
        ({"trials": -3}, "--trials must be 1 or more, got -3"),
        ({"workers": 0}, "--workers must be 1 or more, got 0"),
    ],
)
def test_no_trials_and_no_workers_are_refused(counts: dict[str, int], line: str, folder: Path) -> None:
    with pytest.raises(SpecError, match=f"^{line}$"):
        search(**counts)


def test_a_place_where_nothing_can_be_written_is_told_in_one_line(folder: Path) -> None:
    (folder / "outputs").touch()

    with pytest.raises(StageError, match=r"^cannot write: outputs is no folder; choose one with outputs=…$"):
        search(*ONE)


def test_what_the_command_line_sets_is_not_searched() -> None:
    settings = composing.settings_of_search([])
    found = searching._search(["quantization=fp32", "schedule.target=0.3", "+study=quickstart"], settings)

    assert found.space.keys() == {"importance", "scope", "imgsz"}


def test_a_space_may_be_changed_on_the_command_line() -> None:
    settings = composing.settings_of_search(["search.space.schedule.target.high=0.4", "~search.space.scope"])

    assert settings["space"]["schedule"]["target"] == {"low": 0.1, "high": 0.4, "step": 0.05}
    assert "scope" not in settings["space"]


def test_a_search_that_was_timed_on_another_device_is_not_gone_on_with(folder: Path) -> None:
    device = asdict(fingerprint()) | {"processor": "Cortex-A76", "cores": 4}
    (folder / "3").mkdir()
    (folder / "3" / "report.json").write_text(json.dumps({"run": {"status": "finished"}, "device": device}))

    with pytest.raises(SpecError, match=r"^trial 3 of .* was timed on another device \(Cortex-A76, 4 cores\); "):
        searching._check_device(folder)


def test_a_search_of_this_device_goes_on(folder: Path) -> None:
    (folder / "3").mkdir()
    told: dict[str, Any] = {"run": {"status": "finished"}, "device": asdict(fingerprint())}
    (folder / "3" / "report.json").write_text(json.dumps(told))

    searching._check_device(folder)


def test_a_trial_finds_its_order_in_its_folder(folder: Path) -> None:
    place, overrides = folder / "searches" / "mine" / "0", ["+study=quickstart", "seed=3"]
    composing.leave_order(overrides, place)
    order = composing.order_in(place)

    assert order.plain == composing.composed(overrides)
    assert order.overrides == tuple(overrides)


def test_a_trial_logs_into_its_folder(folder: Path) -> None:
    composing.leave_order([], folder / "0")
    composing.set_up_logging(folder / "0")
    logging.getLogger("secateur").info("so it is")

    assert "so it is" in (folder / "0" / "secateur.log").read_text()


def test_the_command_of_a_trial_repeats_it(folder: Path) -> None:
    overrides = ["model.weights=missing.pt", "tracking=none", "schedule.target=0.15"]
    place = folder / "outputs" / "searches" / "mine" / "0"
    composing.leave_order(overrides, place)
    report = run_in_folder(composing.order_in(place), place)

    assert report.id == "mine/0"
    assert shlex.split(report.command) == ["secateur", "run", *overrides]
