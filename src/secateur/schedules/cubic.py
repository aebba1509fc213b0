"""Fast at first, when there is most to spare, then ever slower (Zhu & Gupta 2017)."""

from __future__ import annotations

from dataclasses import dataclass

from secateur.schedules._target import Stepped


@dataclass(frozen=True)
class Cubic(Stepped):
    """0.8 in two steps: 0.7, 0.8."""

    def rungs(self) -> tuple[float, ...]:
        left = (1 - step / self.steps for step in range(1, self.steps))
        return (*(round(self.target * (1 - share**3), 6) for share in left), self.target)
