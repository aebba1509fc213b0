"""What the folders of runs tell of their stages, also where a run was killed; and how folders of many are known."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

SEARCHES = "searches"
"""Where in the outputs a search's folder is."""

SWEEP, SEARCH = "sweep.json", "search.json"
"""What lies in a folder of many runs, and says what was asked."""


def overrides_of(command: str) -> list[str]:
    """Those of a run's command, `secateur run …`, without its flags."""
    return [word for word in shlex.split(command)[2:] if not word.startswith("--")]


def shared_by_all(overrides: Sequence[Sequence[str]]) -> set[str]:
    """The overrides that each of these runs has; none of no runs."""
    return set.intersection(*map(set, overrides)) if overrides else set()


def records_in(folder: Path) -> list[dict[str, Any]]:
    """Of as many stages as were recorded; a last line that a kill cut short, in a letter even, is left out."""
    return list(_whole(folder / "records.jsonl"))


def _whole(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            yield json.loads(line)
        except ValueError:
            return
