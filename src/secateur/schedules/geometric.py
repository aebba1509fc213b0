"""The same share of what is left at each step, so that the first steps take most."""

from __future__ import annotations

from dataclasses import dataclass

from secateur.schedules._target import Stepped


@dataclass(frozen=True)
class Geometric(Stepped):
    """0.75 in two steps: 0.5, 0.75."""

    def rungs(self) -> tuple[float, ...]:
        left = 1 - self.target
        before = (round(1 - left ** (step / self.steps), 6) for step in range(1, self.steps))
        return (*before, self.target)
