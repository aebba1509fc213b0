"""A sweep: all jobs are checked before the first begins, Hydra's launcher does them, their folders tell what came."""

from __future__ import annotations

import itertools
import shlex
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from textwrap import shorten
from typing import Any

import hydra
from rich.console import Console
from rich.text import Text

from secateur import sweeps
from secateur.app.checking import check_places, make_outputs, to_spec
from secateur.app.composing import Planned, as_command, in_one_line, planned, shipped
from secateur.app.launching import BASIC, CONSOLE, run_job
from secateur.app.running import tell_tracking_it_is_over
from secateur.comparisons import Comparison, compared, runs_in
from secateur.errors import SpecError, StageError
from secateur.interrupts import heeded
from secateur.reporting.comparison import tables, worth
from secateur.reporting.comparison_page import page
from secateur.sweeps import MULTIRUN, Job, State, Sweep
from secateur.switches import handed_on, trust_option

FIXED = ("hydra.sweep.subdir", "hydra/sweeper", "hydra.sweeper._target_")
SHOW = {"--cfg", "-c", "--info", "-i", "--help", "-h", "--hydra-help", "--version", "--shell-completion", "-sc"}
"""Hydra's flags that only show something."""
RESUME = "--resume"
JOBS = "hydra.launcher.n_jobs"
"""How many joblib does at once."""


def is_meant(arguments: list[str]) -> bool:
    """Raises SpecError where --resume is asked for without a sweep."""
    resume, others = _asked_to_resume(arguments)
    if resume and not MULTIRUN & set(others):
        raise SpecError(f"{RESUME} goes on with a sweep: add -m; the same command without it goes on with a single run")
    return bool(MULTIRUN & set(others)) and not SHOW & set(others)


def main(arguments: list[str]) -> int:
    """Does the jobs that are not done yet; 0, or 2 where one of them failed."""
    resume, arguments = _asked_to_resume(arguments)
    overrides = _overrides(arguments)
    plan = planned(overrides)
    sweep = Sweep(overrides, plan.jobs)
    for job, config in zip(sweeps.jobs_of(sweep, plan.folder), plan.configs, strict=True):
        _check(job, config)
    at_once = _as_many_as_slots(plan, overrides)
    folder = (_to_resume(resume, sweep, plan.folder.parent) if resume else None) or plan.folder
    make_outputs(plan.configs[0])
    with in_one_line():
        sweeps.write(sweep, folder)
    _say_what(plan, folder)
    switches = [f"+hydra.job.env_set.{name}='{value}'" for name, value in handed_on().items()]
    command = ["secateur run", "-m", *overrides, *at_once, *switches, f"hydra.sweep.dir={_quoted(folder.absolute())}"]
    try:
        with in_one_line(), _ended_together(folder), _launchers_faults_in_one_line(), as_command(command):
            hydra.main(version_base="1.3", config_path=str(shipped("conf")), config_name="config")(run_job)()
    finally:
        _tell(sweep, folder)
        tell_tracking_it_is_over(folder, plan.configs[0])
    return 0 if all(job.state == "finished" for job in sweeps.jobs_of(sweep, folder)) else 2


@contextmanager
def _ended_together(folder: Path) -> Iterator[None]:
    """The first interrupt tells all jobs to end, wherever they are, and is raised when they have; a second stops at
    once what is on this machine."""
    (folder / sweeps.STOP).unlink(missing_ok=True)
    with heeded() as interrupts, interrupts.handed_on(lambda: sweeps.interrupt(folder)):
        try:
            yield
        finally:
            interrupts.check()


@contextmanager
def _launchers_faults_in_one_line() -> Iterator[None]:
    """A worker that was killed, a node that is gone, a cluster that is not there: each plugin has errors of its own."""
    try:
        yield
    except Exception as error:
        if not _is_the_launchers(error):
            raise
        reason = (str(error).split("\n\n")[-1].strip().splitlines() or [type(error).__name__])[-1]  # below a traceback
        raise StageError(
            f"the launcher gave up ({shorten(reason, 240)}); with --resume the jobs that are left are done"
        ) from error


def _is_the_launchers(error: Exception) -> bool:
    """By its class, or by who raised it: Ray and submitit wrap what a job raises, joblib hands it on as it is."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    of, by = (name.partition(".")[0] for name in (type(error).__module__, frame.f_globals.get("__name__", "")))
    return of in ("joblib", "ray", "submitit") or by in ("ray", "submitit")


def _asked_to_resume(arguments: list[str]) -> tuple[str | None, list[str]]:
    """What --resume says, `newest` where it says nothing; and the other arguments."""
    asked = [argument for argument in arguments if argument.partition("=")[0] == RESUME]
    others = [argument for argument in arguments if argument not in asked]
    return (asked[-1].partition("=")[2] or "newest" if asked else None), others


def _overrides(arguments: list[str]) -> list[str]:
    """Without -m. Raises SpecError for Hydra's other flags, by which jobs would not be what is composed here."""
    others = [argument for argument in arguments if argument not in MULTIRUN]
    if flags := [argument for argument in others if argument.startswith("-")]:
        raise SpecError(f"a sweep takes no {flags[0]}; configs of your own: 'hydra.searchpath=[file:///path/to/them]'")
    if fixed := [other for other in others if other.lstrip("+").startswith(FIXED)]:
        raise SpecError(f"a sweep takes no {fixed[0]}: its jobs are Hydra's own sweeper's, in folders of their numbers")
    return others


def _quoted(path: Path) -> str:
    """As a value that Hydra's grammar reads."""
    escaped = str(path).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _check(job: Job, config: dict[str, Any]) -> None:
    """Raises SpecError where the job cannot be what it was asked to be."""
    try:
        check_places(to_spec(config))
    except SpecError as error:
        raise SpecError(f"{job.label}: {error}") from error


def _as_many_as_slots(plan: Planned, overrides: list[str]) -> list[str]:
    """What tells joblib to do so many jobs at once as there are devices for; raises SpecError where the settings
    contradict each other."""
    slots = plan.configs[0]["slots"]
    asked = {key: value for key, _, value in (override.lstrip("+").partition("=") for override in overrides)}
    if not slots:
        return []
    if plan.launcher["_target_"] == BASIC:
        raise SpecError(f"slots={slots} are for jobs that run at once: add hydra/launcher=parallel, or give device=…")
    if "device" in asked:
        raise SpecError(f"device={asked['device']} and slots={slots}: each job has one of the slots; leave device out")
    if "n_jobs" not in plan.launcher:
        return []
    if JOBS not in asked:
        return [f"{JOBS}={len(slots)}"]
    if not 1 <= plan.launcher["n_jobs"] <= len(slots):
        raise SpecError(
            f"{JOBS}={asked[JOBS]} and slots={slots}: there is a device for {len(slots)} jobs; leave it out"
        )
    return []


def _say_what(plan: Planned, folder: Path) -> None:
    aside = "" if plan.launcher["_target_"] == BASIC else f"; what each does is in its {CONSOLE}"
    sys.stdout.write(f"{len(plan.jobs)} jobs in {folder}{aside}\n")
    sys.stdout.flush()


def _to_resume(which: str, sweep: Sweep, place: Path) -> Path | None:
    """The folder of the sweep to go on with; says what is done, and what has to be done again."""
    folder = sweeps.newest(place, sweep.jobs) if which == "newest" else Path(which)
    if folder is None:
        _say(f"no sweep of these jobs in {place}: starting one; {RESUME}=FOLDER goes on with another")
        return None
    before = sweeps.read(folder)
    if before.jobs != sweep.jobs:
        asked = " ".join(before.overrides)
        raise SpecError(f"{folder} is another sweep: go on with it by secateur run -m {asked} {RESUME}={folder}")
    jobs = sweeps.jobs_of(sweep, folder)
    _say(f"going on with {folder}: {sweeps.tally(job.state for job in jobs)}")
    for stage, why in {stage: why for job in jobs for stage, why in sweeps.stale(job.folder).items()}.items():
        _say(f"{stage} is repeated, and what follows from it: {why}")
    return folder


def _tell(sweep: Sweep, folder: Path) -> None:
    """The sweep's table, what became of the jobs that are not in it, and what to type next."""
    states = [(job, job.state) for job in sweeps.jobs_of(sweep, folder)]
    finished = [job for job, state in states if state == "finished"]
    others = [(job, state) for job, state in states if state != "finished"]
    if finished:
        console = Console(width=None if sys.stdout.isatty() else 140)
        runs = runs_in([job.folder for job, state in states if state not in sweeps.UNTOLD])
        console.print("\n", tables(_without_the_failed(compared(runs))), sep="")
        whole = compared(runs, every=True)
        for told in itertools.chain.from_iterable(map(worth, whole.groups)):
            console.print(Text(told))
        _write_page(
            folder, page(whole, folder.name, shlex.join(["secateur", "run", "-m", *trust_option(), *sweep.overrides]))
        )
    for job, state in others:
        _say(f"{job.label} {_ending(job, state)}")
    following = [f"secateur compare {folder} --all   this table, with all files"] if finished else []
    following += [f"the same command with {RESUME}   what is not finished"] if others else []
    sys.stdout.write(
        f"\n{sweeps.tally(state for _, state in states)}\n\nNext     " + "\n         ".join(following) + "\n"
    )


def _write_page(folder: Path, content: str) -> None:
    try:
        (folder / "report.html").write_text(content)
    except OSError as error:  # the folders hold what it would show
        _say(f"cannot write {folder}/report.html: {error}")
    else:
        sys.stdout.write(f"\nReport   {folder}/report.html\n")


def _without_the_failed(found: Comparison) -> Comparison:
    """They are told below the table, with what was asked of each."""
    return replace(found, endings={run: end for run, end in found.endings.items() if end[0] == "finished"})


def _ending(job: Job, state: State) -> str:
    report = sweeps.report_in(job.folder)
    return f"{state}: {report['run']['error']}" if report else state


def _say(line: str) -> None:
    sys.stderr.write(f"secateur: {line}\n")
