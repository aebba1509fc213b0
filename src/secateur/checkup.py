"""What `secateur doctor` finds of the machine it runs on: frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Area = Literal["library", "processor", "gpu", "place", "extra"]
State = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. A note is no fault: something that is not here, or will be slow."""

    area: Area
    name: str
    state: State
    text: str
    remedy: str | None = None


def problems(checks: tuple[Check, ...]) -> int:
    """How many of them are problems, which notes are not."""
    return sum(check.state == "problem" for check in checks)
