"""A sweep's folder: what was asked is in `sweep.json`, what came of it in its jobs' folders."""

from __future__ import annotations

import importlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from secateur import plugins
from secateur.errors import SpecError
from secateur.records import SWEEP, records_in, shared_by_all
from secateur.store import kind_of

MULTIRUN = {"-m", "--multirun", "hydra.mode=MULTIRUN"}
"""What makes a sweep of `secateur run`."""

LOCK = ".lock"
"""In a job's folder: whose process holds it works on the job."""

FORMAT = 1
STOP = "stop"
"""A file that says, on whichever machine they are, that no job is to begin and those that have begun are to end."""

P = TypeVar("P")

State = Literal["finished", "failed", "killed", "stopped", "broken off", "not started"]
UNTOLD: tuple[State, ...] = ("broken off", "not started")
"""Of jobs without a report."""


@dataclass(frozen=True)
class Sweep:
    """What was asked: the overrides as they were typed, and those of each job."""

    overrides: list[str]
    jobs: list[list[str]]
    format: int = FORMAT


@dataclass(frozen=True)
class Job:
    """One run of a sweep, in the folder of its number; `overrides` are those that not all jobs have."""

    number: int
    overrides: list[str]
    folder: Path

    @property
    def label(self) -> str:
        """`job 3 (seed=1)`."""
        return f"job {self.number} ({' '.join(self.overrides)})"

    @property
    def state(self) -> State:
        """`broken off`: its process was killed before it could say so."""
        report = report_in(self.folder)
        if report:
            status: State = report["run"]["status"]
            return status
        return "broken off" if (self.folder / "records.jsonl").exists() else "not started"


def write(sweep: Sweep, folder: Path) -> None:
    """Raises OSError where not even a job's folder can be written."""
    for job in jobs_of(sweep, folder):
        job.folder.mkdir(parents=True, exist_ok=True)
        (job.folder / LOCK).touch()
    beside = folder / f".{SWEEP}.part"
    beside.write_bytes(msgspec.json.format(msgspec.json.encode(sweep), indent=2))
    beside.replace(folder / SWEEP)


def read(folder: Path) -> Sweep:
    """Raises SpecError where the folder holds no sweep, or one that is newer than this."""
    if not folder.is_dir():
        raise SpecError(f"no folder {folder}; the sweeps there are lie in outputs/sweeps, or where outputs=… says")
    return read_plan(folder / SWEEP, Sweep, FORMAT)


def read_plan(path: Path, kind: type[P], known: int) -> P:
    """What was asked, from its file; raises SpecError where that is none, or of a newer format than is known."""
    folder = path.parent
    try:
        plain = json.loads(path.read_text())
        if plain.get("format", known) > known:
            raise SpecError(f"{folder} is of a newer secateur (format {plain['format']}; this one reads {known})")
        return msgspec.convert(plain, kind)
    except (OSError, ValueError, msgspec.ValidationError, AttributeError) as error:
        raise SpecError(f"{folder} holds no {path.stem}: {' '.join(str(error).split())}") from error


def interrupt(folder: Path) -> None:
    """Tells all jobs, wherever they are done: those that have begun are to end, the others need not begin."""
    (folder / STOP).touch()


def is_interrupted(folder: Path) -> bool:
    """Whether any machine has told the jobs so by `interrupt`."""
    return (folder / STOP).exists()


def jobs_of(sweep: Sweep, folder: Path) -> list[Job]:
    """Numbered from 0, in the order of `sweep.jobs`; their folders need not be there."""
    common = shared_by_all(sweep.jobs)
    own = [[override for override in job if override not in common] for job in sweep.jobs]
    return [Job(number, overrides, folder / str(number)) for number, overrides in enumerate(own)]


def newest(sweeps: Path, jobs: list[list[str]]) -> Path | None:
    """The folder of the newest sweep of these jobs, whichever launcher did them; names begin with the time, so that
    after the clock was put back it may be another of them."""
    folders = sorted((path.parent for path in sweeps.glob(f"*/{SWEEP}")), key=lambda folder: folder.name, reverse=True)
    return next((folder for folder in folders if _jobs_in(folder) == jobs), None)


def _jobs_in(folder: Path) -> list[list[str]] | None:
    """None where it holds no sweep, or one that this cannot read."""
    with suppress(SpecError):
        return read(folder).jobs
    return None


def tally(states: Iterable[State]) -> str:
    """`12 jobs: 10 finished, 1 failed, 1 not started`."""
    counted = Counter(states)
    return f"{counted.total()} jobs: {', '.join(f'{count} {state}' for state, count in counted.most_common())}"


def report_in(folder: Path) -> dict[str, Any] | None:
    """What `report.json` says; None where there is none."""
    try:
        report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    except (OSError, ValueError):
        return None
    return report


def stale(folder: Path) -> dict[str, str]:
    """The stages that a run in this folder would have to repeat, each with the reason: what made them has changed."""
    return {record["stage"]: why for record in records_in(folder) if (why := _changed(record))}


def _changed(record: dict[str, Any]) -> str | None:
    """What differs between what made a stage's result and what would make it now."""
    name = f"secateur.stages.{record['stage']}"
    if not find_spec(name):
        return "there is no such stage any more"
    stage = importlib.import_module(name)
    if "version" not in record:
        return "its record is of before versions were recorded"
    then = {"VERSION": record["version"]} | record["libraries"]
    libraries = {*record["libraries"], *stage.LIBRARIES}
    now = {"VERSION": stage.VERSION} | {library: _version(library) for library in sorted(libraries)}
    changes = [f"{name} {then.get(name, '(none)')} → {now[name]}" for name in now if then.get(name) != now[name]]
    return "; ".join([*changes, *_changed_parts(record["inputs"])]) or None


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "(not installed)"


def _changed_parts(inputs: Any) -> list[str]:
    """The parts among a stage's inputs that were of another version; they say theirs as `Int8Static@3`."""
    now = {kind.partition("@")[0]: kind for kind in _kinds()}
    then = sorted(set(_kinds_in(inputs)))
    return [f"{kind} → {now[name]}" for kind in then if (name := kind.partition("@")[0]) in now and now[name] != kind]


def _kinds() -> list[str]:
    """Of all parts that there are."""
    return [kind_of(plugins.load(kind, name)) for kind in plugins.FOLDERS for name in plugins.names(kind)]


def _kinds_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("kind"), str):
            yield value["kind"]
        for inner in value.values():
            yield from _kinds_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _kinds_in(inner)
