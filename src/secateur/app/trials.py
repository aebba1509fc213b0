"""What a search's worker does: one trial after the other, until there are enough."""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from pathlib import Path

from secateur import searches, spaces
from secateur.adapters.search import Trial, Trials
from secateur.app import trial as process
from secateur.app.checking import check_places, to_spec
from secateur.app.composing import composed, leave_order
from secateur.app.launching import CONSOLE, do, outcome
from secateur.errors import SpecError
from secateur.fronts import points
from secateur.sweeps import report_in


def work(folder: Path, wanted: int, beside_others: bool) -> None:
    """Does what is left of so many trials."""
    search = searches.read(folder)
    trials = Trials(folder, search.axes, search.seed)
    while trial := trials.next(wanted):
        name, place = f"trial {trial.number}", folder / str(trial.number)
        overrides = spaces.overrides(trial.place)
        _say(f"{name}: {' '.join(overrides)}")
        try:
            check_places(to_spec(composed([*search.overrides, *overrides])))
        except SpecError as error:
            trials.tell_failed(trial)
            _say(f"{name}: cannot be: {error}")
            continue
        started = time.monotonic()
        leave_order([*search.overrides, *overrides], place)
        with (place / CONSOLE).open("w") if beside_others else nullcontext() as output:
            do(process.__name__, place, output)
        _tell(trials, trial, folder)
        _say(f"{name}: {outcome(place)} ({time.monotonic() - started:.0f} s)")


def _tell(trials: Trials, trial: Trial, folder: Path) -> None:
    """What came of the trial, by its own report."""
    report = report_in(folder / str(trial.number))
    status = report["run"]["status"] if report else "failed"
    if status == "finished":
        (point,) = (point for point in points(searches.finished(folder)) if point.trial == trial.number)
        trials.tell_finished(trial, point.accuracy, point.latency_ms)
    elif status == "stopped":
        trials.tell_stopped(trial)
    else:
        trials.tell_failed(trial)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
