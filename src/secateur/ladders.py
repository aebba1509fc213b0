"""The ladders of runs side by side, from their report.json alone: what each rung cost, and what training gave back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from secateur.comparisons import Run, asked_of
from secateur.errors import SpecError
from secateur.fronts import main_accuracy


@dataclass(frozen=True)
class Step:
    """A net of a run: unpruned (rung 0), or after a rung, of which `target` is the share that was to go of `unit` and
    `reached` the one that went. mAP50-95 as fractions, `pruned` healed and not yet trained, `tuned` after training,
    unless that was `undone`; of a detector, whose masks are none, None. `unpruned` is the accuracy of the run's own
    unpruned net."""

    run: str
    asked: str
    imgsz: int
    rung: int
    unit: str
    target: float
    reached: float
    params: int
    macs: int
    box_pruned: float
    box_tuned: float
    mask_pruned: float | None
    mask_tuned: float | None
    accepted: bool
    undone: bool
    unpruned: float

    @property
    def accuracy(self) -> float:
        """What is ranked: mask mAP50-95 of the rung's net, or box mAP50-95 of a detector."""
        return self.box_tuned if self.mask_tuned is None else self.mask_tuned


@dataclass(frozen=True)
class Ladders:
    """Runs that one evaluator scored on the same pictures; the unpruned nets first, then run by run, the one that ends
    most accurate first."""

    setting: str
    steps: tuple[Step, ...]


def ladders(runs: Sequence[Run]) -> tuple[Ladders, ...]:
    """Those of the runs that came to a rung, finished or not. Raises SpecError where none did."""
    climbed = sorted((run for run in runs if run.report.get("rungs")), key=lambda run: run.place)
    if not climbed:
        raise SpecError("none of these runs has a rung: nothing was pruned, or it failed before")
    asked = dict(zip((run.place for run in climbed), asked_of(climbed), strict=True))
    alike: dict[str, list[Run]] = defaultdict(list)
    for run in climbed:
        alike[_setting(run)].append(run)
    return tuple(Ladders(setting, tuple(_steps(found, asked))) for setting, found in alike.items())


def _setting(run: Run) -> str:
    baseline, data = run.report["baseline"], run.report["dataset"] or {}
    return f"data set {str(data.get('data', 'unknown'))[:8]}; {baseline['evaluator']}, {baseline['images']} pictures"


def _steps(runs: Iterable[Run], asked: Mapping[str, str]) -> Iterator[Step]:
    unpruned: dict[tuple[Any, ...], Step] = {}
    ladders = []
    for run in runs:
        first, *rungs = _ladder(run, asked[run.place])
        unpruned.setdefault((first.imgsz, first.macs, first.box_tuned, first.mask_tuned), first)
        ladders.append(rungs)
    yield from unpruned.values()
    for rungs in sorted(ladders, key=lambda rungs: -rungs[-1].accuracy):
        yield from rungs


def _ladder(run: Run, asked: str) -> Iterator[Step]:
    report = run.report
    name, spec, baseline = report["run"]["id"], report["run"]["spec"], report["baseline"]
    size, unit = spec["imgsz"], spec["schedule"]["unit"]
    unpruned = main_accuracy(baseline)
    yield Step(name, "", size, 0, unit, 0.0, 0.0, baseline["params"], baseline["macs"],
               *_scores(baseline, baseline), accepted=True, undone=False, unpruned=unpruned)  # fmt: skip
    for rung in report["rungs"]:
        yield Step(name, asked, size, rung["rung"], unit, rung["target"], rung["reached"], rung["params"], rung["macs"],
                   *_scores(rung["pruned"], rung["tuned"]), accepted=rung["accepted"],
                   undone=bool(rung.get("undone")), unpruned=unpruned)  # fmt: skip


def _scores(pruned: Mapping[str, Any], tuned: Mapping[str, Any]) -> tuple[float, float, float | None, float | None]:
    return pruned["box_map50_95"], tuned["box_map50_95"], pruned["mask_map50_95"], tuned["mask_map50_95"]
