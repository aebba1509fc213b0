"""All at once."""

from __future__ import annotations

from dataclasses import dataclass

from secateur.schedules._target import Target


@dataclass(frozen=True)
class OneShot(Target):
    """A single rung at the target."""

    def rungs(self) -> tuple[float, ...]:
        return (self.target,)
