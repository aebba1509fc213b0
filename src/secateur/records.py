"""What a run's folder tells of its stages, also where the run was killed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SEARCHES = "searches"
"""Where in the outputs a search's folder is."""


def records_in(folder: Path) -> list[dict[str, Any]]:
    """Of as many stages as were recorded; a last line that a kill cut short, in a letter even, is left out."""
    return list(_whole(folder / "records.jsonl"))


def _whole(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            yield json.loads(line)
        except ValueError:
            return
