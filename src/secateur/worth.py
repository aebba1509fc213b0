"""Whether pruning was worth it: the pruned files of a group against what costs less effort.

That is a quantizer alone, a smaller picture, a smaller net, and as many channels taken at random. Two files are told
apart where the 95 % intervals of their changes, each drawn around its own mAP, do not overlap; and one is as fast as
another unless its time lies above it with the whole of its interval. Both are careful: they claim less than could be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from secateur.comparisons import Entry, Group
from secateur.fronts import front
from secateur.results import PRUNED

RANDOM = "random"
"""The importance that is a rival: it chooses nothing."""


class Verdict(Enum):
    """`open` where nothing that costs less effort is as fast, so that only its mAP says whether it is of use."""

    WORTH = "worth"
    NOT_WORTH = "not worth"
    OPEN = "open"


@dataclass(frozen=True)
class Rival:
    """The most accurate file of its kind that is as fast, or the fastest of its kind where none is.

    `gained` is how much more mAP50-95 the pruned file has, `differs` whether the two are told apart.
    """

    kind: str
    entry: Entry
    as_fast: bool
    gained: float
    differs: bool

    @property
    def is_beaten(self) -> bool:
        return self.gained > 0 and self.differs


@dataclass(frozen=True)
class Weighed:
    """A pruned file and its rivals, one a kind."""

    pruned: Entry
    rivals: tuple[Rival, ...]

    @property
    def verdict(self) -> Verdict:
        as_fast = [rival for rival in self.rivals if rival.as_fast]
        if not as_fast:
            return Verdict.OPEN
        return Verdict.WORTH if all(rival.is_beaten for rival in as_fast) else Verdict.NOT_WORTH

    @property
    def margin(self) -> float:
        """Over the best of those that are as fast."""
        return min((rival.gained for rival in self.rivals if rival.as_fast), default=0.0)


def weigh(group: Group) -> Weighed | None:
    """The pruned file that stands best against its rivals, of those that runs ship where there are such; None where
    nothing is pruned, or nothing to set it against.

    None also where the group is not whole, as rivals are seldom what a run ships.
    """
    rivals = _rivals(group) if group.whole else {}
    chosen = [entry for entry in group.ranked if is_pruned(entry) and entry.importance != RANDOM]
    pruned = front([entry for entry in chosen if entry.ships] or chosen)
    if not rivals or not pruned:
        return None
    order = [Verdict.NOT_WORTH, Verdict.OPEN, Verdict.WORTH]
    weighed = [
        Weighed(entry, tuple(_rival(kind, entry, files) for kind, files in sorted(rivals.items()))) for entry in pruned
    ]
    return max(weighed, key=lambda each: (order.index(each.verdict), each.margin, each.pruned.accuracy))


def is_pruned(entry: Entry) -> bool:
    return entry.file.startswith(PRUNED)


def _rivals(group: Group) -> dict[str, list[Entry]]:
    """Files by kind, as far as the group has them."""
    found: dict[str, list[Entry]] = {}
    if reference := group.reference:
        for entry in group.ranked:
            if kind := _kind(entry, reference):
                found.setdefault(kind, []).append(entry)
    return found


def _kind(entry: Entry, reference: Entry) -> str | None:
    if is_pruned(entry):
        return "channels at random" if entry.importance == RANDOM else None
    if entry.params < reference.params:
        return "a smaller net"
    if entry.imgsz < reference.imgsz:
        return "a smaller picture"
    return f"{entry.quantization} alone" if entry.quantization != reference.quantization else None


def _rival(kind: str, pruned: Entry, entries: Sequence[Entry]) -> Rival:
    as_fast = [entry for entry in entries if entry.speedup.around_ms(entry.latency_ms)[0] <= pruned.latency_ms]
    best = max(as_fast, key=lambda entry: entry.accuracy) if as_fast else min(entries, key=lambda e: e.latency_ms)
    low, high = _interval(best)
    own_low, own_high = _interval(pruned)
    return Rival(kind, best, bool(as_fast), pruned.accuracy - best.accuracy, own_low > high or low > own_high)


def _interval(entry: Entry) -> tuple[float, float]:
    """Of its mAP; of no width for an unpruned FP32, which all changes are to."""
    return entry.change.around(entry.accuracy) if entry.change else (entry.accuracy, entry.accuracy)
