"""What every schedule has: the share that goes, and of what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Target:
    """`target` is the share of the unpruned net's `unit` that is gone in the end."""

    target: float
    unit: Literal["channels", "macs", "params", "latency"]

    def __post_init__(self) -> None:
        if not 0 < self.target < 1:
            raise ValueError(f"target must be in (0, 1), got {self.target}")


@dataclass(frozen=True, kw_only=True)
class Stepped(Target):
    """Goes there in so many steps."""

    steps: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1:
            raise ValueError(f"steps must be 1 or more, got {self.steps}")
