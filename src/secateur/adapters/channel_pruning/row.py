"""The one row of portions in which all that may go stands, first what goes first.

Channels are taken in portions of `round_to`, group by group, least important first. All portions of all groups stand in
one row, in the order that the scope says.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from secateur.adapters.channel_pruning.groups import Group
from secateur.ports import Importance
from secateur.results import Sensitivity
from secateur.specs import Scope


@dataclass(frozen=True)
class Portion:
    """Channels of one group that go together.

    `score` is never below that of what goes before them; `share` of the group's first width is gone halfway through.
    """

    group: str
    channels: tuple[int, ...]
    score: float
    share: float


def row_of(
    groups: Sequence[Group],
    importance: Importance,
    scope: Scope,
    widths: Mapping[str, int],
    sensitivity: Sensitivity | None,
) -> list[Portion]:
    """All that may go, first what goes first."""
    portions = {group.name: _portions(group, importance, scope, widths[group.name]) for group in groups}
    if sensitivity is not None:
        row = itertools.chain.from_iterable(portions.values())
        return sorted(row, key=lambda p: (sensitivity.drop(p.group, p.share), p.share))
    arenas: dict[object, list[Group]] = {}
    for group in groups:
        arenas.setdefault(_arena(group, scope.kind), []).append(group)
    marched = [_march([p for group in arena for p in portions[group.name]], arena, widths) for arena in arenas.values()]
    return [portion for _, _, portion in sorted(itertools.chain(*marched), key=lambda step: step[:2])]


def _arena(group: Group, kind: str) -> object:
    """Groups of one arena compete; each arena gives the same share of its channels (isomorphic: Fang et al. 2024)."""
    if kind == "isomorphic":
        return tuple(sorted((type(i.dep.target.module).__name__, i.dep.handler.__name__) for i in group.native))
    return group.name if kind == "local" else None


def _march(
    portions: Iterable[Portion], arena: Iterable[Group], widths: Mapping[str, int]
) -> list[tuple[float, float, Portion]]:
    """An arena's portions in their order, each after the share of the arena that is gone halfway through it."""
    width = sum(widths[group.name] for group in arena)
    gone, steps = width - sum(group.channels for group in arena), []
    for portion in sorted(portions, key=lambda p: (p.score, p.share)):
        size = len(portion.channels)
        steps.append(((gone + size / 2) / width, portion.score, portion))
        gone += size
    return steps


def _portions(group: Group, importance: Importance, scope: Scope, original: int) -> list[Portion]:
    """A group's portions, least important first, down to the width that has to stay."""
    scores = finite_scores(importance.score(group), group) / (group.macs if scope.per_mac else 1)
    order, left, highest, portions = scores.argsort().tolist(), group.channels, -math.inf, []
    smallest = max(scope.round_to, original - math.floor(original * scope.max_ratio + 1e-9))
    while left - (size := left % scope.round_to or scope.round_to) >= smallest:
        taken = tuple(order[group.channels - left : group.channels - left + size])
        highest = max(highest, float(scores[list(taken)].mean()))
        portions.append(Portion(group.name, taken, highest, share=1 - (left - size / 2) / original))
        left -= size
    return portions


def finite_scores(scores: Tensor, group: Group) -> Tensor:
    """A group that the criterion says nothing about (no gradient reached it) is as good as any, not worthless."""
    if not torch.isfinite(scores).all() or not scores.any():
        return torch.ones(group.channels)
    return scores.detach().float()


def by_group(portions: Iterable[Portion]) -> dict[str, list[int]]:
    """The channels of each group that these are."""
    merged: dict[str, list[int]] = {}
    for portion in portions:
        merged.setdefault(portion.group, []).extend(portion.channels)
    return merged
