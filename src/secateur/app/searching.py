"""A search: what may be chosen is checked, workers try it, their trials' folders tell what came."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from secateur import searches, spaces
from secateur.adapters import search as door
from secateur.adapters.search import Trials
from secateur.app import worker
from secateur.app.checking import SETTINGS, check_places, make_outputs, to_spec
from secateur.app.composing import as_plain, composed, composed_to_run, in_one_line, keys_given, settings_of_search
from secateur.app.running import tell_tracking_it_is_over
from secateur.edge.fingerprint import fingerprint
from secateur.errors import SpecError, StageError
from secateur.interrupts import EXIT_CODE, done_side_by_side
from secateur.plugins import nearest
from secateur.processor import usable_cores
from secateur.records import SEARCHES
from secateur.reporting.front import front_tables
from secateur.searches import Search

OF_SEARCH = re.compile(r"[+~]*search([.=@]|$)")
"""An override of the search's own settings."""

KEYS = {"space", "margin", "seed"}
FIXED = {*SETTINGS, "name", "hydra"}
"""What says where results go or how fast they come, and what Hydra does; all trials have it alike."""


def main(arguments: list[str], trials: int, workers: int) -> int:
    """Does what is missing of so many trials; 0, or 2 where one of them failed."""
    door.check()
    for option, count in {"--trials": trials, "--workers": workers}.items():
        if count < 1:
            raise SpecError(f"{option} must be 1 or more, got {count}")
    overrides = [argument for argument in arguments if not OF_SEARCH.match(argument)]
    search = _search(overrides, settings_of_search([a for a in arguments if a not in overrides]))
    plain = as_plain(composed_to_run(overrides))
    spec = to_spec(plain)
    _check_corners(search)
    make_outputs(plain)
    folder = Path(plain["outputs"]) / SEARCHES / spec.name
    with in_one_line():
        searches.begin(search, folder)
        _check_device(folder)
        told = Trials(folder, search.axes, search.seed)
    _say_what(search, folder, trials)
    try:
        codes = done_side_by_side(_commands(folder, trials, workers), max(1, usable_cores() // workers))
    finally:
        tally = told.tally()
        _tell(folder, tally, spaces.size(search.axes))
        tell_tracking_it_is_over(folder, plain)
    if any(codes):
        if EXIT_CODE in codes:
            raise KeyboardInterrupt
        raise StageError(f"a worker of the search ended with code {max(codes, key=abs)}; the same command goes on")
    return 2 if "failed" in tally else 0


def _search(overrides: list[str], settings: dict[str, Any]) -> Search:
    """What is asked, without what the overrides have decided; raises SpecError where nothing is left to choose."""
    if unknown := settings.keys() - KEYS:
        key, known = f"search.{min(unknown)}", [f"search.{key}" for key in sorted(KEYS)]
        raise SpecError(f"unknown key {key!r}; there are {', '.join(known)}{nearest(key, known)}")
    given = keys_given(overrides)
    space = {key: axis for key, axis in spaces.space_of(settings["space"] or {}).items() if key not in given}
    if not space:
        raise SpecError("nothing is searched: give search.space.… a key, or leave one to it on the command line")
    for key in space:
        if re.split(r"[./@]", key.lstrip("+~"))[0] in FIXED:
            raise SpecError(f"search.space.{key}: all trials have the same {key}")
    margin, seed = settings["margin"], settings["seed"]
    if not (margin is None or (isinstance(margin, int | float) and 0 <= margin < 1)):
        raise SpecError(f"search.margin must be in [0, 1), or null, got {margin!r}")
    if not isinstance(seed, int) or seed < 0:
        raise SpecError(f"search.seed must be a whole number, 0 or more, got {seed!r}")
    return Search(overrides, spaces.as_plain(space), margin, seed)


def _check_corners(search: Search) -> None:
    """Raises SpecError where a choice, or an end of a grid, cannot be."""
    for chosen in map(spaces.overrides, spaces.corners(search.axes)):
        try:
            check_places(to_spec(composed([*search.overrides, *chosen])))
        except SpecError as error:
            raise SpecError(f"search.space, {' '.join(chosen)}: {error}") from error


def _check_device(folder: Path) -> None:
    """Raises SpecError where others of the search were timed on another device: latencies could not be compared."""
    here = json.loads(json.dumps(asdict(fingerprint())))
    for trial, report in searches.finished(folder).items():
        if report["device"] != here:
            raise SpecError(
                f"trial {trial} of {folder} was timed on another device ({report['device']['processor']}, "
                f"{report['device']['cores']} cores); give this search a name of its own: name=…"
            )


def _say_what(search: Search, folder: Path, trials: int) -> None:
    _say(f"searching {spaces.size(search.axes)} combinations in {folder}, {trials} trials in all:")
    for key, axis in search.axes.items():
        _say(f"  {key}: {', '.join(map(str, axis.values))}")


def _commands(folder: Path, trials: int, workers: int) -> list[list[str]]:
    how = "alone" if workers == 1 else "beside"
    return [[sys.executable, "-P", "-m", worker.__name__, str(folder), str(trials), how]] * workers


def _tell(folder: Path, tally: dict[str, int], combinations: int) -> None:
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print()
    console.print(front_tables(searches.reports(folder)), crop=False)
    counted = ", ".join(f"{count} {state}" for state, count in tally.items()) or "none"
    whole = "; there are no other combinations" if sum(tally.values()) >= combinations else ""
    console.print(f"\ntrials: {counted}{whole}: {folder}", highlight=False, soft_wrap=True)


def _say(line: str) -> None:
    sys.stderr.write(f"secateur: {line}\n")
