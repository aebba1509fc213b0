"""How many channels go until the budget is met: the front of the row, and how much of it, by bisection.

What a net would count without them is added up between its two ends, nothing and all of the row gone, which are counted
on the net itself, as is what was chosen. A latency is taken of every net that is tried.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable

from torch import nn

from secateur.adapters.channel_pruning.counting import Ledger
from secateur.adapters.channel_pruning.cutting import without
from secateur.adapters.channel_pruning.row import Portion
from secateur.errors import GraphError
from secateur.ports import Budget, Pruned

NEAR = 0.005
"""Of a budget: no less may be asked of channels that go in portions."""
TRUSTED = 0.0005
"""Of the unpruned net: what is added up layer by layer is believed where it is that near to what is counted."""

Gone = Callable[[tuple[Portion, ...]], float]
"""Which share of the unpruned net's `Budget.unit` the net lacks without these portions."""


def nearest(net: nn.Module, row: tuple[Portion, ...], budget: Budget, ledger: Ledger | None) -> Pruned:
    """Without as much of the row as comes nearest to the budget."""

    @functools.cache
    def gone(portions: tuple[Portion, ...]) -> float:
        return budget.gone(without(net, portions)[0])

    _check_reach(row, budget, gone)
    for gauge in (_added_up(ledger, row, gone), gone) if ledger and ledger.gone(row) else (gone,):
        chosen = _chosen(row, budget, gauge)
        if abs(gone(chosen) - gauge(chosen)) <= TRUSTED:
            break
    smaller, kept = without(net, chosen)
    return Pruned(smaller, gone(chosen), kept)


def _added_up(ledger: Ledger, row: tuple[Portion, ...], gone: Gone) -> Gone:
    """Of the unpruned net, so that it is what is counted with nothing and with all of the row gone."""
    least, most = gone(()), gone(row)
    scale = (most - least) / ledger.gone(row)
    return lambda portions: least + scale * ledger.gone(portions)


def _check_reach(row: tuple[Portion, ...], budget: Budget, gone: Gone) -> None:
    """Raises GraphError where all of the row is not enough."""
    if gone(row) < budget.target - max(budget.tolerance, NEAR):
        raise GraphError(
            f"{budget.target:g} of the {budget.unit} is out of reach: at most {max(gone(row), 0):.3f} can go; lower "
            "schedule.target, or allow more with scope.max_ratio, scope.head, scope.keep or a smaller scope.round_to"
        )


def _chosen(row: tuple[Portion, ...], budget: Budget, gone: Gone) -> tuple[Portion, ...]:
    """The front of the row, by interpolation and bisection in turns."""
    low, high, below, above = 0, len(row), max(gone(()), 0.0), gone(row)
    for turn in itertools.count():
        if high - low <= 1:
            break
        share = 0.5 if turn % 2 else (budget.target - below) / (above - below)
        middle = low + min(max(round(share * (high - low)), 1), high - low - 1)
        found = gone(row[:middle])
        if abs(found - budget.target) <= budget.tolerance:
            return row[:middle]
        if found < budget.target:
            low, below = middle, max(found, below)
        else:
            high, above = middle, found
    return min((_filled(row, low, budget, gone), row[:high]), key=lambda some: abs(gone(some) - budget.target))


def _filled(row: tuple[Portion, ...], count: int, budget: Budget, gone: Gone) -> tuple[Portion, ...]:
    """The front of the row and, since the portion at its edge may be large, those of the next few that still fit."""
    chosen, full = row[:count], set[str]()
    for portion in row[count : count + budget.fillers]:
        if portion.group in full or budget.target - gone(chosen) <= budget.tolerance:
            continue
        if gone((*chosen, portion)) <= budget.target + budget.tolerance:
            chosen = (*chosen, portion)
        else:
            full.add(portion.group)  # what comes later in a group does not go before what comes first
    return chosen
