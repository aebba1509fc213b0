"""The same share of the unpruned net at each step."""

from __future__ import annotations

from dataclasses import dataclass

from secateur.schedules._target import Stepped


@dataclass(frozen=True)
class Linear(Stepped):
    """0.3 in three steps: 0.1, 0.2, 0.3."""

    def rungs(self) -> tuple[float, ...]:
        before = (round(self.target * step / self.steps, 6) for step in range(1, self.steps))
        return (*before, self.target)
