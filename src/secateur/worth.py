"""Whether pruning was worth it: the pruned files of a group against what costs less effort.

That is the unpruned FP32, a quantizer alone, a smaller picture and a smaller net, each in the same runtime with as many
threads and pictures at once; what the pruned file's own run timed in turns with it is taken as it was timed there. A
file is as fast as another unless their times' 95 % intervals lie apart. Two that were compared with one unpruned FP32
are told apart where the 95 % intervals of their changes, each drawn around its own mAP, do not overlap: less is claimed
than a paired comparison could. Between nets, and between picture sizes, no interval is known, and the difference stands
as it was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from secateur.comparisons import Entry, Group
from secateur.fronts import front
from secateur.results import PRUNED

RANDOM = "random"
"""The importance that chooses nothing."""

AS_MANY = 0.05
"""Share of the MACs by which a net may differ that lost as much at random."""


class Verdict(Enum):
    """`open` where nothing that costs less effort is as fast, so that only its mAP says whether it is of use."""

    WORTH = "worth"
    NOT_SHOWN = "not shown"
    OPEN = "open"


@dataclass(frozen=True)
class Rival:
    """The most accurate file of its kind that is as fast, or the fastest of its kind where none is.

    `gained` is how much more mAP50-95 the pruned file has, `differs` whether the two are told apart, None where no
    interval is known.
    """

    kind: str
    entry: Entry
    as_fast: bool
    gained: float
    differs: bool | None

    @property
    def is_beaten(self) -> bool:
        """Whether the pruned file has the better mAP50-95, and their intervals, where they are known, lie apart."""
        return self.gained > 0 and self.differs is not False


@dataclass(frozen=True)
class Weighed:
    """A pruned file and its rivals, one a kind; the file is the one that stands best of `of`.

    `at_random` is a net that lost as much, at random: what the criterion is worth, not what pruning is.
    """

    pruned: Entry
    of: int
    rivals: tuple[Rival, ...]
    at_random: Rival | None

    @property
    def verdict(self) -> Verdict:
        """Over the rivals that are as fast: worth it where all are beaten, not shown where one is not, open where there
        is none."""
        as_fast = [rival for rival in self.rivals if rival.as_fast]
        if not as_fast:
            return Verdict.OPEN
        return Verdict.WORTH if all(rival.is_beaten for rival in as_fast) else Verdict.NOT_SHOWN

    @property
    def margin(self) -> float:
        """Over the best of those that are as fast."""
        return min((rival.gained for rival in self.rivals if rival.as_fast), default=0.0)


def weigh(group: Group) -> Weighed | None:
    """The pruned file that stands best against its rivals, of those that runs ship where there are such; None where
    nothing is pruned by a criterion, or no unpruned FP32 is there.

    None also where the group is not whole, as rivals are seldom what a run ships.
    """
    reference, ranked = group.reference, group.ranked
    chosen = [entry for entry in ranked if is_pruned(entry) and entry.importance != RANDOM]
    pruned = front([entry for entry in chosen if entry.ships] or chosen)
    if not group.whole or not reference or not pruned:
        return None
    order = [Verdict.NOT_SHOWN, Verdict.OPEN, Verdict.WORTH]
    weighed = [
        Weighed(
            entry,
            len(pruned),
            _rivals(entry, _beside(entry, ranked, group.measurements), reference),
            _at_random(entry, ranked),
        )
        for entry in pruned
    ]
    return max(weighed, key=lambda each: (order.index(each.verdict), each.margin, each.pruned.accuracy))


def is_pruned(entry: Entry) -> bool:
    """Whether it is a pruned net's, by its name."""
    return entry.file.startswith(PRUNED)


def _beside(pruned: Entry, ranked: Sequence[Entry], measurements: Sequence[Entry]) -> list[Entry]:
    """What is ranked; the files that the pruned one's run timed in turns with it, as they were timed there."""
    own = {(entry.file, entry.sha256): entry for entry in measurements if entry.run == pruned.run}
    return [own.get((entry.file, entry.sha256), entry) for entry in ranked]


def _rivals(pruned: Entry, entries: Sequence[Entry], reference: Entry) -> tuple[Rival, ...]:
    kinds: dict[str, list[Entry]] = {}
    for entry in entries:
        if not is_pruned(entry) and _run_alike(entry, pruned):
            kinds.setdefault(_kind(entry, reference), []).append(entry)
    return tuple(_rival(kind, pruned, files) for kind, files in sorted(kinds.items()))


def _kind(entry: Entry, reference: Entry) -> str:
    """Of an unpruned file."""
    if entry.params < reference.params:
        return "a smaller net"
    if entry.imgsz < reference.imgsz:
        return "a smaller picture"
    return "the unpruned FP32" if entry.is_unpruned else f"{entry.quantization} alone"


def _at_random(pruned: Entry, entries: Sequence[Entry]) -> Rival | None:
    alike = [
        entry
        for entry in entries
        if is_pruned(entry)
        and entry.importance == RANDOM
        and _run_alike(entry, pruned)
        and (entry.file, entry.imgsz) == (pruned.file, pruned.imgsz)
        and abs(entry.macs - pruned.macs) <= AS_MANY * pruned.macs
    ]
    return _rival("channels at random", pruned, alike) if alike else None


def _run_alike(one: Entry, other: Entry) -> bool:
    return (one.runtime, one.threads, one.batch) == (other.runtime, other.threads, other.batch)


def _rival(kind: str, pruned: Entry, entries: Sequence[Entry]) -> Rival:
    slowest = _span(pruned)[1]
    as_fast = [entry for entry in entries if _span(entry)[0] <= slowest]
    best = max(as_fast, key=lambda entry: entry.accuracy) if as_fast else min(entries, key=lambda e: e.latency_ms)
    return Rival(kind, best, bool(as_fast), pruned.accuracy - best.accuracy, _differ(pruned, best))


def _span(entry: Entry) -> tuple[float, float]:
    """The interval of its time."""
    return entry.speedup.around_ms(entry.latency_ms)


def _differ(pruned: Entry, rival: Entry) -> bool | None:
    """An unpruned FP32 is what changes are to, so that its own interval has no width."""
    if pruned.change is None or (pruned.unpruned_sha256, pruned.imgsz) != (rival.unpruned_sha256, rival.imgsz):
        return None
    own_low, own_high = pruned.change.around(pruned.accuracy)
    low, high = rival.change.around(rival.accuracy) if rival.change else (rival.accuracy, rival.accuracy)
    return own_low > high or low > own_high
