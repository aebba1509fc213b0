"""What must hold for every schedule in the folder, then each one's numbers."""

from dataclasses import fields
from itertools import pairwise
from typing import Any

import pytest

from secateur import plugins
from secateur.ports import Schedule
from secateur.schedules.geometric import Geometric
from secateur.schedules.linear import Linear
from secateur.schedules.one_shot import OneShot

NAMES = plugins.names("schedule")
TARGETS = [0.05, 0.3, 1 / 3, 0.7, 0.95]
STEPS = [1, 2, 3, 10]


def make(name: str, target: float, steps: int) -> Schedule:
    part: type[Any] = plugins.load("schedule", name)
    stepped = {"steps": steps} if "steps" in {field.name for field in fields(part)} else {}
    return part(target=target, unit="macs", **stepped)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", NAMES)
def test_rungs_rise_between_0_and_1_and_end_at_the_target(name: str, target: float, steps: int) -> None:
    rungs = make(name, target, steps).rungs()

    assert rungs[-1] == target
    assert all(low < high for low, high in pairwise((0.0, *rungs, 1.0)))


@pytest.mark.parametrize("name", NAMES)
def test_rungs_are_the_same_each_time(name: str) -> None:
    assert make(name, 0.3, 3).rungs() == make(name, 0.3, 3).rungs()


@pytest.mark.parametrize("target", [-0.1, 0.0, 1.0, 1.5])
@pytest.mark.parametrize("name", NAMES)
def test_a_target_outside_0_and_1_is_refused(name: str, target: float) -> None:
    with pytest.raises(ValueError, match=rf"^target must be in \(0, 1\), got {target}$"):
        make(name, target, 2)


@pytest.mark.parametrize("steps", [0, -1])
@pytest.mark.parametrize("part", [Linear, Geometric])
def test_less_than_one_step_is_refused(part: type[Any], steps: int) -> None:
    with pytest.raises(ValueError, match=f"^steps must be 1 or more, got {steps}$"):
        part(target=0.3, unit="macs", steps=steps)


@pytest.mark.parametrize("part", [Linear, Geometric])
def test_a_schedule_has_as_many_rungs_as_steps(part: type[Any]) -> None:
    assert len(part(target=0.3, unit="macs", steps=7).rungs()) == 7


def test_one_shot_has_one_rung() -> None:
    assert OneShot(target=0.3, unit="macs").rungs() == (0.3,)


def test_linear_takes_the_same_each_time() -> None:
    assert Linear(target=0.3, unit="macs", steps=3).rungs() == (0.1, 0.2, 0.3)


def test_linear_schedules_of_equal_steps_share_their_rungs() -> None:
    whole = Linear(target=0.4, unit="macs", steps=4).rungs()

    for steps in (1, 2, 3):
        assert Linear(target=steps / 10, unit="macs", steps=steps).rungs() == whole[:steps]


def test_geometric_takes_the_same_share_of_what_is_left() -> None:
    # by hand: 1 - 0.5, 1 - 0.5 * 0.5, 1 - 0.5 * 0.5 * 0.5
    assert Geometric(target=0.875, unit="macs", steps=3).rungs() == (0.5, 0.75, 0.875)
    # by hand: the lab's ten steps to 0.3 keep 0.7 ** 0.1 = 0.964961 each, so the first takes 0.035039
    assert Geometric(target=0.3, unit="channels", steps=10).rungs()[0] == 0.035039


def test_the_first_of_geometric_steps_takes_most() -> None:
    rungs = (0.0, *Geometric(target=0.6, unit="macs", steps=4).rungs())

    taken = [high - low for low, high in pairwise(rungs)]
    assert taken == sorted(taken, reverse=True)
