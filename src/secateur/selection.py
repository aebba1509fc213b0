"""Which candidate to ship."""

from __future__ import annotations

from collections.abc import Sequence

from secateur.results import BASELINE, Accuracy, Candidate, Rung


def select(candidates: Sequence[Candidate], max_map_drop: float | None) -> tuple[str, str]:
    """(name, why): the fastest that is measurably faster than the baseline and inside the accuracy budget; never one
    with a fault, but for the baseline itself, where nothing else is left."""
    name, why = _fastest(candidates, max_map_drop)
    return name, "; ".join([why, *(_told(c) for c in candidates if c.fault)])


def _told(faulty: Candidate) -> str:
    verdict = "is of no use itself, so that no change to it says much" if faulty.name == BASELINE else "is refused"
    return f"{faulty.name} {verdict}: {faulty.fault}"


def _fastest(candidates: Sequence[Candidate], max_map_drop: float | None) -> tuple[str, str]:
    baseline = next(c for c in candidates if c.name == BASELINE)
    faster = [c for c in candidates if c.latency.speedup.low > 1 and c.fault is None]
    if not faster:
        return BASELINE, "no candidate is measurably faster than the unpruned FP32 baseline"
    allowed = [c for c in faster if max_map_drop is None or drop(c, baseline) <= max_map_drop]
    if not allowed:
        nearest = min(faster, key=lambda c: drop(c, baseline))
        return BASELINE, (
            f"no faster candidate keeps within max_map_drop={max_map_drop:g}; "
            f"the nearest, {nearest.name}, loses {drop(nearest, baseline):.3f}"
        )
    best = max(allowed, key=lambda c: c.latency.speedup.median)
    budget = "" if max_map_drop is None else f" inside max_map_drop={max_map_drop:g}"
    return best.name, f"the fastest of {len(candidates)} candidates{budget}{_overlapping(best, allowed)}"


def _overlapping(best: Candidate, others: Sequence[Candidate]) -> str:
    """Which others its speed-up's interval does not leave behind; empty where there are none."""
    rivals = [c.name for c in others if c is not best and c.latency.speedup.high >= best.latency.speedup.low]
    return f"; its interval overlaps that of {', '.join(rivals)}" if rivals else ""


def refusal(rungs: Sequence[Rung], unpruned: Accuracy, max_map_drop: float) -> str:
    """Why no pruned net is among the candidates."""
    nearest = max(rungs, key=lambda rung: rung.tuned.main)
    lost = unpruned.main - nearest.tuned.main
    return f"no rung kept within max_map_drop={max_map_drop:g}; the nearest, rung {nearest.rung}, loses {lost:.3f}"


def drop(candidate: Candidate, baseline: Candidate) -> float:
    """Points of mAP50-95 lost against the baseline, as a fraction."""
    return baseline.accuracy.main - candidate.accuracy.main
