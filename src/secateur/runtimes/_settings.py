"""What all runtimes can be told."""

from __future__ import annotations

from secateur.errors import require


def check(threads: int, round_to: int) -> None:
    """Raises ValueError where one is out of range."""
    require(threads >= 0, f"threads must be 0 (all cores) or more, got {threads}")
    require(round_to >= 1, f"round_to must be 1 or more, got {round_to}")
