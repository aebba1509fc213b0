"""What must hold for every schedule in the folder, then each one's numbers."""

import re
from itertools import pairwise
from typing import Any

import pytest
import yaml

from secateur import plugins
from secateur.ports import Schedule
from secateur.schedules.cubic import Cubic
from secateur.schedules.geometric import Geometric
from secateur.schedules.ladder import Ladder
from secateur.schedules.linear import Linear
from secateur.schedules.one_shot import OneShot
from tests.conftest import ROOT

NAMES = plugins.names("schedule")
TARGETS = [0.05, 0.3, 1 / 3, 0.7, 0.95]
STEPS = [1, 2, 3, 10]


def make(name: str, target: float, steps: int) -> Schedule:
    """By its yaml, where target and steps are not in question."""
    values = yaml.safe_load((ROOT / f"conf/schedule/{name}.yaml").read_text())
    part: type[Any] = plugins.load("schedule", values.pop("name"))
    asked = {"target": target, "steps": steps, "shares": tuple(values.get("shares", ()))}
    return part(**values | {key: value for key, value in asked.items() if key in values})


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
@pytest.mark.parametrize("part", [Linear, Geometric, Cubic])
def test_less_than_one_step_is_refused(part: type[Any], steps: int) -> None:
    with pytest.raises(ValueError, match=f"^steps must be 1 or more, got {steps}$"):
        part(target=0.3, unit="macs", steps=steps)


@pytest.mark.parametrize("part", [Linear, Geometric, Cubic])
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


def test_cubic_leaves_the_cube_of_the_way_that_is_left() -> None:
    # by hand: 0.8 · (1 - (1/2)³) = 0.8 · 7/8
    assert Cubic(target=0.8, unit="macs", steps=2).rungs() == (0.7, 0.8)
    # by hand: 0.54 · (1 - (2/3)³) = 0.54 · 19/27, 0.54 · (1 - (1/3)³) = 0.54 · 26/27
    assert Cubic(target=0.54, unit="macs", steps=3).rungs() == (0.38, 0.52, 0.54)


@pytest.mark.parametrize(
    ("target", "rungs"),
    [(0.05, (0.05,)), (0.1, (0.1,)), (0.25, (0.1, 0.2, 0.25)), (0.3, (0.1, 0.2, 0.3)), (0.6, (0.1, 0.2, 0.3, 0.6))],
)
def test_a_ladder_is_climbed_up_to_the_target(target: float, rungs: tuple[float, ...]) -> None:
    assert Ladder(target=target, unit="macs", shares=(0.1, 0.2, 0.3)).rungs() == rungs


@pytest.mark.parametrize("shares", [[0.2, 0.1], [0.1, 0.1], [0.0, 0.1], [0.5, 1.0]])
def test_shares_that_do_not_rise_between_0_and_1_are_refused(shares: list[float]) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(f'shares must rise within (0, 1), got {shares}')}$"):
        Ladder(target=0.3, unit="macs", shares=tuple(shares))
