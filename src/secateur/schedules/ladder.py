"""Rungs that are given: runs with different targets share all below the lower one."""

from __future__ import annotations

from dataclasses import dataclass

from secateur.schedules._target import Target


@dataclass(frozen=True, kw_only=True)
class Ladder(Target):
    """0.25 by 0.1, 0.2, 0.3: 0.1, 0.2, 0.25."""

    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        inside = all(0 < share < 1 for share in self.shares)
        if not inside or list(self.shares) != sorted(set(self.shares)):
            raise ValueError(f"shares must rise within (0, 1), got {list(self.shares)}")

    def rungs(self) -> tuple[float, ...]:
        return (*(share for share in self.shares if share < self.target), self.target)
