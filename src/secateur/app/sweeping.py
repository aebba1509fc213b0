"""A sweep: all jobs are checked before the first begins, Hydra's launcher does them, their folders tell what came."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from rich.console import Console

from secateur import sweeps
from secateur.app.checking import check_places, to_spec
from secateur.app.composing import as_command, in_one_line, planned, shipped
from secateur.app.launching import run_job
from secateur.errors import SpecError
from secateur.interrupts import heeded
from secateur.reporting.comparison import comparison, find
from secateur.sweeps import Job, Sweep

SWEEP = {"-m", "--multirun", "hydra.mode=MULTIRUN"}
SHOW = {"--cfg", "-c", "--info", "-i", "--help", "-h", "--hydra-help", "--version", "--shell-completion", "-sc"}
"""Hydra's flags that only show something."""
RESUME = "--resume"


def is_meant(arguments: list[str]) -> bool:
    """Raises SpecError where --resume is asked for without a sweep."""
    resume, others = _asked_to_resume(arguments)
    if resume and not SWEEP & set(others):
        raise SpecError(f"{RESUME} goes on with a sweep: add -m; the same command without it goes on with a single run")
    return bool(SWEEP & set(others)) and not SHOW & set(others)


def main(arguments: list[str]) -> int:
    """Does the jobs that are not done yet; 0, or 2 where one of them failed."""
    resume, arguments = _asked_to_resume(arguments)
    overrides = _overrides(arguments)
    plan = planned(overrides)
    sweep = Sweep(overrides, plan.jobs)
    for job, config in zip(sweeps.jobs_of(sweep, plan.folder), plan.configs, strict=True):
        _check(job, config)
    folder = (_to_resume(resume, sweep, plan.folder.parent) if resume else None) or plan.folder
    with in_one_line():
        sweeps.write(sweep, folder)
    try:
        with (
            as_command(["secateur run", *arguments, f"hydra.sweep.dir='{folder}'"]),
            in_one_line(),
            _interruptible(folder),
        ):
            hydra.main(version_base="1.3", config_path=str(shipped("conf")), config_name="config")(run_job)()
    finally:
        _tell(sweep, folder)
    return 0 if all(job.state == "finished" for job in sweeps.jobs_of(sweep, folder)) else 2


@contextmanager
def _interruptible(folder: Path) -> Iterator[None]:
    """An interrupt is handed on to the jobs, and raised when they have ended."""
    with heeded() as interrupts, interrupts.handed_on(lambda: sweeps.interrupt(folder)):
        yield
        interrupts.check()


def _asked_to_resume(arguments: list[str]) -> tuple[str | None, list[str]]:
    """What --resume says, `newest` where it says nothing; and the other arguments."""
    asked = [argument for argument in arguments if argument.partition("=")[0] == RESUME]
    others = [argument for argument in arguments if argument not in asked]
    return (asked[-1].partition("=")[2] or "newest" if asked else None), others


def _overrides(arguments: list[str]) -> list[str]:
    """Without -m. Raises SpecError for Hydra's other flags, by which jobs would not be what is composed here."""
    others = [argument for argument in arguments if argument not in SWEEP]
    if flags := [argument for argument in others if argument.startswith("-")]:
        raise SpecError(f"a sweep takes no {flags[0]}; configs of your own: 'hydra.searchpath=[file:///path/to/them]'")
    return others


def _check(job: Job, config: dict[str, Any]) -> None:
    """Raises SpecError where the job cannot be what it was asked to be."""
    try:
        check_places(to_spec(config))
    except SpecError as error:
        raise SpecError(f"{job.label}: {error}") from error


def _to_resume(which: str, sweep: Sweep, place: Path) -> Path | None:
    """The folder of the sweep to go on with; says what is done, and what has to be done again."""
    folder = sweeps.newest(place, sweep.overrides) if which == "newest" else Path(which)
    if folder is None:
        _say(f"no sweep of these overrides in {place}: starting one")
        return None
    before = sweeps.read(folder)
    if before.jobs != sweep.jobs:
        raise SpecError(f"{folder} is another sweep: its overrides were {' '.join(before.overrides)}")
    jobs = sweeps.jobs_of(sweep, folder)
    _say(f"going on with {folder}: {sweeps.tally(jobs)}")
    for stage, why in {stage: why for job in jobs for stage, why in sweeps.stale(job.folder).items()}.items():
        _say(f"{stage} is repeated, and what follows from it: {why}")
    return folder


def _tell(sweep: Sweep, folder: Path) -> None:
    """The sweep's table, what became of the jobs that are not in it, and what to type next."""
    jobs = sweeps.jobs_of(sweep, folder)
    finished = [job for job in jobs if job.state == "finished"]
    others = [job for job in jobs if job not in finished]
    if finished:
        console = Console(width=None if sys.stdout.isatty() else 140)
        console.print("\n", comparison(find([job.folder for job in finished])), sep="")
    for job in others:
        _say(f"{job.label} {_ending(job)}")
    resume = f"\n         the same command with {RESUME}   what is not finished" if others else ""
    sys.stdout.write(f"\n{sweeps.tally(jobs)}\n\nNext     secateur compare {folder}   this table{resume}\n")


def _ending(job: Job) -> str:
    report = sweeps.report_in(job.folder)
    return f"{job.state}: {report['run']['error']}" if report else job.state


def _say(line: str) -> None:
    sys.stderr.write(f"secateur: {line}\n")
