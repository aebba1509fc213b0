"""A sweep, or a search, in MLflow: a run that is the parent of its jobs' runs, known by the sweep's folder."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from secateur.records import SEARCH, SWEEP, overrides_of, shared_by_all

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

PLANS = {"sweep": SWEEP, "search": SEARCH}
"""What lies in a folder of each kind: what was asked."""

STUDY = re.compile(r"\+{0,2}study=.")
PLACE = "group_dir"
"""The tag by which a parent is found; the runs themselves are found by `run_dir`, which no parent has."""

PARENT = "mlflow.parentRunId"
"""MLflow's own tag, by which it knows whose child a run is."""

_LOCK = ".mlflow.lock"
_LONGEST_NAME = 250
_LONGEST = 2000  # letters of a tag's value; the whole is in the plan, which is attached


@dataclass(frozen=True)
class Group:
    """A sweep's or a search's folder, and what was asked there."""

    folder: Path
    kind: str
    plan: Mapping[str, Any]

    @property
    def overrides(self) -> list[str]:
        """As they were typed, for all jobs together."""
        return list(self.plan["overrides"])

    @property
    def command(self) -> str:
        """What asked for the whole, but for its flags."""
        return shlex.join(["secateur", *(["run", "-m"] if self.kind == "sweep" else ["search"]), *self.overrides])

    def name_of(self, run_dir: Path, header: Mapping[str, Any]) -> str:
        """Of a job: its number, and what of its overrides not all jobs have."""
        common = shared_by_all(self.plan.get("jobs") or [self.overrides])
        own = [override for override in overrides_of(header["command"]) if override not in common]
        return " ".join([header["name"], run_dir.absolute().name, *own])[:_LONGEST_NAME]

    def statuses(self) -> list[str | None]:
        """Of each job, as its report says; None where there is none (yet)."""
        if "jobs" in self.plan:
            numbers = list(range(len(self.plan["jobs"])))
        else:
            numbers = sorted(int(path.name) for path in self.folder.iterdir() if path.name.isdecimal())
        return [_status(self.folder / str(number)) for number in numbers]


class Parent:
    """The MLflow run of a group; what it tells is read from the group's folder, whoever tells it."""

    def __init__(self, client: MlflowClient, group: Group, run_id: str) -> None:
        self.id = run_id
        self._client = client
        self._group = group

    def go_on(self) -> None:
        """A job has begun, maybe of a group that had ended."""
        with _alone_in(self._group.folder):
            if self._client.get_run(self.id).info.status != "RUNNING":
                self._client.update_run(self.id, status="RUNNING")

    def settle(self, end: int, *, over: bool) -> None:
        """How far the group is, and how it ended once all its jobs have, or it is over; doing so twice changes
        nothing. What lies in its folder, such as a report of the whole, goes along."""
        folder = self._group.folder
        with _alone_in(folder):
            statuses = self._group.statuses()
            self._client.set_tag(self.id, "mlflow.note.content", _description(self._group, statuses))
            for name in ("report.html", PLANS[self._group.kind]):
                if (folder / name).exists():
                    self._client.log_artifact(self.id, str(folder / name))
            status = _ending(statuses, over=over)
            if status != "RUNNING":
                last = self._client.get_run(self.id).info.end_time or 0
                self._client.set_terminated(self.id, status, max(last, end))


def group_of(run_dir: Path) -> Group | None:
    """The sweep or the search that a run is of; None of one that stands alone."""
    return _group_in(run_dir.absolute().parent)


def parent_of(client: MlflowClient, experiment_id: str, group: Group, start: int) -> Parent:
    """Found by the group's folder, or made: once, though many jobs ask at the same moment, on whatever machines."""
    with _alone_in(group.folder):
        found = _found(client, experiment_id, group.folder)
        run_id = found or _made(client, experiment_id, group, start)
    return Parent(client, group, run_id)


def parent_in(client: MlflowClient, experiment_id: str, folder: Path) -> Parent | None:
    """Of the group in this folder, as far as any of its runs was told."""
    group = _group_in(folder.absolute())
    run_id = group and _found(client, experiment_id, group.folder)
    return Parent(client, group, run_id) if group and run_id else None


def runs_with(client: MlflowClient, experiment_id: str, tag: str, folder: str, before: str = "") -> Sequence[MlflowRun]:
    """The runs whose tag may be this folder, the newest first: an underscore stands for any letter, and is put where
    MLflow's filters, or the patterns of a database, would take one for something else."""
    pattern = before + re.sub(r"[^A-Za-z0-9/.-]", "_", folder)
    found: Sequence[MlflowRun] = client.search_runs([experiment_id], f"tags.{tag} LIKE '{pattern}'")
    return found


def _group_in(folder: Path) -> Group | None:
    return next((Group(folder, kind, plan) for kind, name in PLANS.items() if (plan := _plan(folder / name))), None)


def _plan(path: Path) -> Mapping[str, Any] | None:
    """None where there is none, or a file of somebody else's of that name."""
    try:
        plan: Any = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    lists = [plan.get("overrides"), plan.get("jobs", [])] if isinstance(plan, dict) else [None]
    return plan if all(isinstance(found, list) for found in lists) else None


def _found(client: MlflowClient, experiment_id: str, folder: Path) -> str | None:
    alike = runs_with(client, experiment_id, PLACE, folder.as_posix())
    return next((run.info.run_id for run in alike if run.data.tags[PLACE] == folder.as_posix()), None)


def _made(client: MlflowClient, experiment_id: str, group: Group, start: int) -> str:
    tags = {
        **_as_tags(group.overrides),
        PLACE: group.folder.as_posix(),
        "kind": group.kind,
        "command": group.command[:_LONGEST],
        "mlflow.note.content": _description(group, group.statuses()),
    }
    made: str = client.create_run(experiment_id, start, tags, group.folder.name).info.run_id
    return made


def _as_tags(overrides: Sequence[str]) -> dict[str, str]:
    """Named as on the command line, by what MLflow takes for a name."""
    pairs = (override.lstrip("+~").partition("=") for override in overrides)
    return {re.sub(r"[^\w.\-/ ]", "_", key)[:250]: value[:_LONGEST] for key, _, value in pairs if key}


def _description(group: Group, statuses: Sequence[str | None]) -> str:
    """Markdown."""
    counted = Counter(status or "without a result" for status in statuses)
    tally = ", ".join(f"{count} {status}" for status, count in counted.most_common())
    noun = "jobs" if group.kind == "sweep" else "trials"
    lines = [f"{len(statuses)} {noun}: {tally}", f"    {group.command}"]
    if space := group.plan.get("space"):
        lines.append("\n".join(f"- `{key}`: {json.dumps(axis)}" for key, axis in space.items()))
    lines.append(f"Side by side: `secateur compare {group.folder}`")
    return "\n\n".join(lines)[:_LONGEST]


def _ending(statuses: Sequence[str | None], *, over: bool) -> str:
    """In MLflow's words; a trial that was stopped since another was ahead is none that failed."""
    if None in statuses and not over:
        return "RUNNING"
    if "failed" in statuses:
        return "FAILED"
    return "KILLED" if {None, "killed"} & set(statuses) else "FINISHED"


def _status(job: Path) -> str | None:
    try:
        status: str = json.loads((job / "report.json").read_text())["run"]["status"]
    except (OSError, ValueError):
        return None
    return status


def _alone_in(folder: Path) -> AbstractContextManager[Any]:
    """Holds a lock that jobs on all machines see, as the folder is theirs in common; one that takes no writes is an old
    one's, which nobody works on."""
    return FileLock(folder / _LOCK, is_singleton=True) if os.access(folder, os.W_OK) else nullcontext()
