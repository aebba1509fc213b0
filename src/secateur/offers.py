"""Which file to ship within a budget: `latency_ms_p50<=30, mask_drop<=0.02`.

Of the files that are inside, the most accurate is offered where the budget says what it may cost, else the fastest; and
those first whose intervals lie inside as a whole, so that somebody else who measures it again finds the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from secateur.comparisons import Comparison, Entry, Group
from secateur.errors import SpecError
from secateur.results import Change

GRAMMAR = "a budget is made of terms such as latency_ms_p50<=30, with <= or >=, between commas; measures: {}"
NEXT = 3
"""So many of those that would be better, but for the budget, are told."""

_TERM = re.compile(r"\s*([a-z][a-z0-9_]*)\s*(<=|>=)\s*([0-9]*\.?[0-9]+(?:e-?[0-9]+)?)\s*(ms|mb|x|×)?\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Reading:
    """A measure of a file, and how bad it may be: the worse end of its 95 % interval, where one is known."""

    observed: float
    worst: float


Measure = Callable[[Entry, Entry], Reading | None]
"""Of a file and the group's reference; None for what it does not have."""


def _plain(of: Callable[[Entry], float | None]) -> Measure:
    def measure(entry: Entry, reference: Entry) -> Reading | None:
        value = of(entry)
        return None if value is None else Reading(value, value)

    return measure


def _drop(of: Callable[[Entry], float | None], change: Callable[[Entry], Change | None]) -> Measure:
    """The interval is that of the run, so it is known where the run's own unpruned net is the reference."""

    def measure(entry: Entry, reference: Entry) -> Reading | None:
        value, before, found = of(entry), of(reference), change(entry)
        if value is None or before is None:
            return None
        return Reading(before - value, -found.low if found and _is_own(entry, reference) else before - value)

    return measure


def _is_own(entry: Entry, reference: Entry) -> bool:
    """Whether that is the unpruned FP32 of the file's own run."""
    return (entry.unpruned_sha256, entry.imgsz) == (reference.sha256, reference.imgsz)


def _speedup(entry: Entry, reference: Entry) -> Reading:
    """Over the reference; its interval is as wide as that of the paired ratio to the run's own unpruned FP32."""
    observed = reference.latency_ms / entry.latency_ms
    return Reading(observed, observed * entry.speedup.low / entry.speedup.median)


MEASURES: dict[str, Measure] = {
    "latency_ms_p50": _plain(lambda entry: entry.p50_ms),
    "latency_ms_p95": _plain(lambda entry: entry.p95_ms),
    "speedup": _speedup,
    "size_mb": _plain(lambda entry: entry.size_bytes / 1e6),
    "params_m": _plain(lambda entry: entry.params / 1e6),
    "macs_g": _plain(lambda entry: entry.macs / 1e9),
    "box_map50_95": _plain(lambda entry: entry.box_map50_95),
    "mask_map50_95": _plain(lambda entry: entry.mask_map50_95),
    "box_drop": _drop(lambda entry: entry.box_map50_95, lambda entry: entry.box_change),
    "mask_drop": _drop(lambda entry: entry.mask_map50_95, lambda entry: entry.mask_change),
}
COSTS = ("latency_ms_p50", "latency_ms_p95", "speedup", "size_mb", "params_m", "macs_g")


@dataclass(frozen=True)
class Term:
    """One bound of a budget."""

    measure: str
    at_most: bool
    bound: float

    def __str__(self) -> str:
        return f"{self.measure} {'<=' if self.at_most else '>='} {self.bound:g}"

    def excess(self, value: float) -> float:
        """By which share of the bound it is missed; 0 or less inside."""
        over = value - self.bound if self.at_most else self.bound - value
        return over / (abs(self.bound) or 1.0)


@dataclass(frozen=True)
class Lack:
    """A term that a file does not keep."""

    term: Term
    observed: float

    def __str__(self) -> str:
        return f"{self.term.measure} is {self.observed:.3g}, {self.term} was asked for"


@dataclass(frozen=True)
class Offer:
    """What to ship; `unsure` are the terms that it keeps as measured and not with the whole of its interval.

    `better` would be preferred, but for what they lack; the nearest first. `measured` is what the budget's measures
    come to, where they are to another unpruned FP32 than that of the file's own run; else empty.
    """

    entry: Entry
    unsure: tuple[Lack, ...]
    better: tuple[tuple[Entry, tuple[Lack, ...]], ...]
    why: str
    measured: Mapping[str, float]


@dataclass(frozen=True)
class Nothing:
    """Nothing is inside; `nearest` misses the least."""

    nearest: Entry
    lacks: tuple[Lack, ...]


def parse(text: str) -> tuple[Term, ...]:
    """The terms of a budget; raises SpecError, with the grammar, where it is none."""
    terms = []
    for part in re.split(r",|;|\band\b", text):
        match = _TERM.fullmatch(part)
        if not match:
            raise SpecError(f"--budget: cannot read {part.strip()!r}; {GRAMMAR.format(', '.join(MEASURES))}")
        name, sign, bound, _ = match.groups()
        if name not in MEASURES:
            near = get_close_matches(name, MEASURES, n=1)
            hint = f"did you mean {near[0]!r}?" if near else GRAMMAR.format(", ".join(MEASURES))
            raise SpecError(f"--budget: no measure {name!r}; {hint}")
        terms.append(Term(name, sign == "<=", float(bound)))
    return tuple(terms)


def best(group: Group, budget: Sequence[Term]) -> Offer | Nothing:
    """What of the group to ship; raises SpecError where it has no unpruned FP32 to compare with, or a term is about
    what its nets do not have."""
    reference = group.reference
    if reference is None:
        raise SpecError(f"no unpruned FP32 was timed on {group.setting.device}: nothing says what is lost there")
    entries = group.ranked
    lacks = {id(entry): _lacks(entry, reference, budget) for entry in entries}
    inside = [entry for entry in entries if not lacks[id(entry)]]
    by_miss = sorted(entries, key=lambda entry: _miss(lacks[id(entry)]))
    if not inside:
        return Nothing(by_miss[0], lacks[id(by_miss[0])])
    costs = any(term.measure in COSTS for term in budget)
    doubts = {id(entry): _lacks(entry, reference, budget, worst=True) for entry in inside}
    sure = [entry for entry in inside if not doubts[id(entry)]]
    chosen = min(sure or inside, key=lambda entry: _rank(entry, costs))
    better = [e for e in by_miss if lacks[id(e)] and _rank(e, costs) < _rank(chosen, costs)][:NEXT]
    why = f"the {'most accurate' if costs else 'fastest'} of {len(sure or inside)} that keep the budget" + (
        " with the whole of their 95 % intervals" if sure else ""
    )
    others = tuple((entry, lacks[id(entry)]) for entry in better)
    measured = {term.measure: _reading(term, chosen, reference).observed for term in budget}
    return Offer(chosen, doubts[id(chosen)], others, why, {} if _is_own(chosen, reference) else measured)


def champion(found: Comparison, best: Mapping[int, Offer | Nothing]) -> Entry:
    """The one that is offered, which no other beats in both mAP and time; raises SpecError where there is no such."""
    offered = {number: offer.entry for number, offer in best.items() if isinstance(offer, Offer)}
    if len(found.groups) != 1 or not offered:
        raise SpecError(f"one champion cannot be of {len(found.groups)} groups that are not compared; name fewer runs")
    (entry,), group = offered.values(), found.groups[0]
    if entry not in group.front:
        better = next(e for e in group.front if e.accuracy >= entry.accuracy and e.latency_ms <= entry.latency_ms)
        raise SpecError(
            f"{entry.file} of {entry.run} is no champion: {better.file} of {better.run} is as accurate and faster; "
            "widen the budget"
        )
    return entry


def _rank(entry: Entry, costs: bool) -> tuple[float, float]:
    """The least is the best."""
    return (-entry.accuracy, entry.latency_ms) if costs else (entry.latency_ms, -entry.accuracy)


def _lacks(entry: Entry, reference: Entry, budget: Sequence[Term], worst: bool = False) -> tuple[Lack, ...]:
    found = []
    for term in budget:
        reading = _reading(term, entry, reference)
        value = reading.worst if worst else reading.observed
        if term.excess(value) > 1e-9:
            found.append(Lack(term, value))
    return tuple(found)


def _reading(term: Term, entry: Entry, reference: Entry) -> Reading:
    reading = MEASURES[term.measure](entry, reference)
    if reading is None:
        raise SpecError(f"--budget: {term.measure} is unknown for {entry.file} of {entry.run}, which has no masks")
    return reading


def _miss(lacks: tuple[Lack, ...]) -> float:
    return max((lack.term.excess(lack.observed) for lack in lacks), default=0.0)
