"""What a search may choose from: of each key, named as on the command line, a list of choices or a grid of numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from secateur.errors import SpecError, require

Value = str | int | float | bool | None

PLAIN = re.compile(r"[A-Za-z_][\w./-]*")
WORDS = {"true", "false", "null", "nan", "inf"}
"""Texts that would be read as something else."""

DIGITS = 10
"""Decimals of a grid's numbers: 0.1 + 4 · 0.05 is 0.3, so that its runs are found in the store."""


@dataclass(frozen=True)
class Grid:
    """Numbers from `low` to `high`, both included, `step` apart."""

    low: int | float
    high: int | float
    step: int | float

    def __post_init__(self) -> None:
        require(self.step > 0, f"step must be above 0, got {self.step}")
        require(self.low <= self.high, f"low must be at most high, got {self.low} and {self.high}")
        steps = (self.high - self.low) / self.step
        require(
            math.isclose(steps, round(steps), abs_tol=1e-6),
            f"high must be a whole number of steps above low, got {self.low}, {self.high} and step {self.step}",
        )

    @property
    def values(self) -> list[Value]:
        """All of them, rising."""
        steps = round((self.high - self.low) / self.step)
        return [self._at(step) for step in range(steps + 1)]

    def nearest(self, value: float) -> int | float:
        """The number of the grid that is meant, where arithmetic left it a little beside."""
        return self._at(round((value - self.low) / self.step))

    def _at(self, step: int) -> int | float:
        return round(self.low + step * self.step, DIGITS)


@dataclass(frozen=True)
class Choices:
    """Values among which there is no order."""

    values: list[Value]

    def __post_init__(self) -> None:
        require(bool(self.values), "needs one choice or more, got []")
        for value in self.values:
            require(isinstance(value, Value), f"choices must be texts, numbers, true, false or null, got {value!r}")
            require(self.values.count(value) == 1, f"choices must differ, got {value!r} twice")


Axis = Grid | Choices
Space = dict[str, Axis]
Place = dict[str, Value]
"""One value of each key."""


def space_of(plain: Mapping[str, Any], prefix: str = "") -> Space:
    """From nested settings, a key's parts one below the other; raises SpecError."""
    space: Space = {}
    for key, value in plain.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and not value.keys() & {"low", "high", "step"}:
            space |= space_of(value, f"{name}.")
        elif value is not None:
            space[name] = _axis(name, value)
    return space


def _axis(name: str, plain: Any) -> Axis:
    if not isinstance(plain, Mapping | list):
        raise SpecError(f"search.space.{name} must be a list of choices, or low, high and step, got {plain!r}")
    try:
        return Choices(plain) if isinstance(plain, list) else _grid(plain)
    except ValueError as error:
        raise SpecError(f"search.space.{name}: {error}") from error


def _grid(plain: Mapping[str, Any]) -> Grid:
    numbers = [isinstance(value, int | float) and not isinstance(value, bool) for value in plain.values()]
    require(
        plain.keys() == {"low", "high", "step"} and all(numbers),
        f"a grid is of the numbers low, high and step, got {dict(plain)}",
    )
    return Grid(**plain)


def as_plain(space: Space) -> dict[str, Any]:
    """As it would be written in YAML, the keys with dots; `space_of` reads it back."""
    return {key: axis.values if isinstance(axis, Choices) else vars(axis) for key, axis in space.items()}


def size(space: Space) -> int:
    """How many places there are."""
    return math.prod(len(axis.values) for axis in space.values())


def corners(space: Space) -> list[Place]:
    """Each choice, and both ends of each grid, with the first value of every other key."""
    first = {key: axis.values[0] for key, axis in space.items()}
    ends = {key: axis.values if isinstance(axis, Choices) else [axis.high] for key, axis in space.items()}
    return [first, *(first | {key: value} for key in space for value in ends[key] if value != first[key])]


def overrides(place: Place) -> list[str]:
    """As on the command line."""
    return [f"{key}={written(value)}" for key, value in place.items()]


def written(value: Value) -> str:
    """In the grammar of Hydra's overrides."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value!r}"
    if PLAIN.fullmatch(value) and value.lower() not in WORDS:
        return value
    escaped = value.replace("'", r"\'")
    return f"'{escaped}'"
