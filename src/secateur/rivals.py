"""Whether a trial can be stopped early: a finished trial of the same search is ahead of it already.

Ahead is who had, at the same stage and with as few MACs, an mAP that is better by a margin. MACs are no time, and a
net that is behind may catch up, so this is a guess, good enough to save trials and never used to say what is fast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from secateur.errors import StoppedError
from secateur.fronts import Report, chosen, main_accuracy
from secateur.results import PRUNED, Epoch, Rung, RunReport, StageRecord

SAME_MACS = 0.01
"""Two nets that were pruned to one share differ by less than this, as channels go in portions."""

DECIDES_SPEED = ("model", "dataset", "activation", "quantization", "runtime", "export", "imgsz", "max_map_drop")
"""What two runs must have in common for their nets to be compared by MACs and mAP alone."""


@dataclass(frozen=True)
class Standing:
    """What a net cost and scored at a stage; only those of one stage are compared."""

    stage: tuple[Any, ...]
    macs: int
    accuracy: float

    def is_ahead_of(self, other: Standing, margin: float) -> bool:
        """Whether it was at the same stage, had no more MACs but for SAME_MACS, and an mAP that is better by the margin
        or more."""
        as_small = self.macs <= other.macs * (1 + SAME_MACS)
        return self.stage == other.stage and as_small and self.accuracy >= other.accuracy + margin


def at_rung(number: int, macs: int, accuracy: float, spec: Mapping[str, Any]) -> Standing:
    """After a rung's training: there the same schedule and recipe tell who is ahead, since all will go on alike."""
    return Standing(("rung", number, spec["schedule"], spec["finetune"]), macs, accuracy)


def as_net(macs: int, accuracy: float) -> Standing:
    """After the last accepted rung."""
    return Standing(("net",), macs, accuracy)


def as_file(name: str, macs: int, accuracy: float) -> Standing:
    """As it would ship."""
    return Standing(("file", name), macs, accuracy)


def standings(report: Report) -> Iterator[Standing]:
    """Where a finished run stood on its way; none where it did not ship a pruned net."""
    if not (report["selected"] or "").startswith(PRUNED):
        return
    rungs = [(rung, main_accuracy(rung["tuned"])) for rung in report["rungs"]]
    for rung, accuracy in rungs:
        yield at_rung(rung["rung"], rung["macs"], accuracy, report["run"]["spec"])
    yield as_net(*next((rung["macs"], accuracy) for rung, accuracy in reversed(rungs) if rung["accepted"]))
    file = chosen(report)
    yield as_file(file["name"], file["macs"], main_accuracy(file))


def are_alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether nets of two runs, by their specs, can be compared."""
    return all(one[key] == other[key] for key in DECIDES_SPEED)


class Rivals:
    """A sink; raises StoppedError as soon as one of the other trials' finished runs is ahead."""

    def __init__(self, spec: Mapping[str, Any], others: Callable[[], Mapping[int, Report]], margin: float) -> None:
        self._spec, self._others, self._margin = spec, others, margin
        self._net: Standing | None = None

    def stage_started(self, stage: str, label: str) -> None:
        """The first file to be exported says that no further rung is climbed."""
        if stage == "export" and self._net:
            self._compare(self._net, "after its last rung")

    def stage_finished(self, record: StageRecord) -> None:
        if record.stage == "evaluate" and record.label.startswith(PRUNED) and self._net:
            accuracy = main_accuracy(record.outputs["accuracy"])
            self._compare(as_file(record.label, self._net.macs, accuracy), f"as {record.label}")

    def epoch_finished(self, label: str, rung: int | None, epoch: Epoch) -> None:
        """Losses are of training pictures, and of whichever distillation: they tell nothing here."""

    def rung_finished(self, rung: Rung) -> None:
        if rung.rung and rung.accepted:
            macs, accuracy = rung.footprint.macs, rung.tuned.main
            self._net = as_net(macs, accuracy)
            self._compare(at_rung(rung.rung, macs, accuracy, self._spec), f"after rung {rung.rung}")

    def run_finished(self, report: RunReport) -> None:
        """Nothing is left to be saved."""

    def _compare(self, own: Standing, when: str) -> None:
        ahead = _ahead(own, self._alike(), self._margin)
        if ahead:
            trial, best = ahead
            raise StoppedError(
                f"stopped early: {when} it has {_told(own)}, where trial {trial} had {_told(best)}; "
                "search.margin=null stops none"
            )

    def _alike(self) -> dict[int, Report]:
        others = self._others()
        return {n: report for n, report in others.items() if are_alike(report["run"]["spec"], self._spec)}


def _ahead(own: Standing, others: Mapping[int, Report], margin: float) -> tuple[int, Standing] | None:
    """The trial that is the furthest ahead, and where it stood."""
    found = [(trial, s) for trial, report in others.items() for s in standings(report) if s.is_ahead_of(own, margin)]
    return max(found, key=lambda ahead: ahead[1].accuracy, default=None)


def _told(standing: Standing) -> str:
    return f"mAP {standing.accuracy:.3f} at {standing.macs / 1e9:.3f} G MACs"
