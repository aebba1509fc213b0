"""A search's folder: what was asked is in `search.json`, what to try next in `search.db`, what came of it in its
trials' folders."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from filelock import FileLock

from secateur.errors import SpecError
from secateur.fronts import Report
from secateur.records import SEARCH
from secateur.spaces import Space, space_of
from secateur.sweeps import read_plan, report_in

LOCK = ".lock"
FORMAT = 1


@dataclass(frozen=True)
class Search:
    """What was asked: the overrides of all trials as they were typed, and what each may choose from.

    A trial is stopped when another is ahead of it by more than `margin` of mAP; None: none is. `seed` is that of the
    choices, not of the runs.
    """

    overrides: list[str]
    space: dict[str, Any]
    margin: float | None
    seed: int
    format: int = FORMAT

    @property
    def axes(self) -> Space:
        """What each key may be, by its name; raises SpecError where the space says nothing that can be searched."""
        return space_of(self.space)


def begin(search: Search, folder: Path) -> None:
    """Writes down what is asked; raises SpecError where something else was asked in this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / LOCK):
        if (folder / SEARCH).exists():
            _check_same(read(folder), search, folder)
        else:
            (folder / SEARCH).write_bytes(msgspec.json.format(msgspec.json.encode(search), indent=2))


def _check_same(before: Search, search: Search, folder: Path) -> None:
    for what in ("overrides", "space", "margin", "seed"):
        then, now = getattr(before, what), getattr(search, what)
        if then != now:
            raise SpecError(
                f"{folder} is another search, its {what}: {_shown(then)}, not {_shown(now)}; "
                "give this one a name of its own: name=…"
            )


def _shown(value: Any) -> str:
    return " ".join(value) if isinstance(value, list) else json.dumps(value)


def read(folder: Path) -> Search:
    """Raises SpecError where the folder holds no search, or one that is newer than this."""
    return read_plan(folder / SEARCH, Search, FORMAT)


def reports(folder: Path) -> dict[int, Report]:
    """What each trial's `report.json` says, by its number; those that have none yet are left out."""
    trials = sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())
    return {trial: report for trial in trials if (report := report_in(folder / str(trial)))}


def finished(folder: Path) -> dict[int, Report]:
    """The reports of those trials that were carried through."""
    return {trial: report for trial, report in reports(folder).items() if report["run"]["status"] == "finished"}
