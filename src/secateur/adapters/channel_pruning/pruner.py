"""`ports.ChannelPruner`, put together."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from secateur.adapters.channel_pruning.counting import footprint_of, ledger_of
from secateur.adapters.channel_pruning.cutting import kept, without
from secateur.adapters.channel_pruning.groups import TRACED, groups_of, seen
from secateur.adapters.channel_pruning.nearest import nearest
from secateur.adapters.channel_pruning.row import Portion, finite_scores, row_of
from secateur.ports import Budget, Importance, Pruned
from secateur.results import Footprint, Sensitivity
from secateur.specs import Scope


class ChannelPruner:
    """`ports.ChannelPruner` by torch_pruning's dependency graph."""

    def footprint(self, net: nn.Module, imgsz: int) -> Footprint:
        return footprint_of(net, imgsz)

    def channels(self, net: nn.Module) -> dict[str, list[int]]:
        return kept(net, collections.defaultdict(set))

    def widths(self, net: nn.Module, fixed: Sequence[nn.Module], imgsz: int) -> dict[str, int]:
        return {group.name: group.channels for group in groups_of(net, fixed, imgsz)}

    def norms(self, net: nn.Module, fixed: Sequence[nn.Module]) -> list[Tensor]:
        return [group.norms() for group in groups_of(net, fixed, TRACED)]

    def regularizer(self, net: nn.Module, fixed: Sequence[nn.Module], strength: float) -> Callable[[], None]:
        groups = groups_of(net, fixed, TRACED)

        @torch.no_grad()
        def regularize() -> None:
            for group in groups:
                group.shrink(strength)

        return regularize

    def prune(
        self,
        net: nn.Module,
        fixed: Sequence[nn.Module],
        importance: Importance,
        scope: Scope,
        budget: Budget,
        imgsz: int,
        pictures: Tensor | None = None,
        sensitivity: Sensitivity | None = None,
    ) -> Pruned:
        """Takes the front of the one row of portions, as much of it as comes nearest to the budget; raises GraphError
        where all of it is not enough."""
        groups = groups_of(net, fixed, imgsz, seen(net, pictures))
        row = tuple(row_of(groups, importance, scope, budget.widths, sensitivity))
        return nearest(net, row, budget, ledger_of(net, groups, budget, imgsz))

    def narrowed(
        self,
        net: nn.Module,
        fixed: Sequence[nn.Module],
        importance: Importance,
        ratios: Sequence[float],
        imgsz: int,
        pictures: Tensor | None = None,
    ) -> Iterator[tuple[str, nn.Module]]:
        for group in groups_of(net, fixed, imgsz, seen(net, pictures)):
            order = finite_scores(importance.score(group), group).argsort().tolist()
            for ratio in ratios:
                least = tuple(order[: min(round(ratio * group.channels), group.channels - 1)])
                yield group.name, without(net, [Portion(group.name, least, 0.0, ratio)])[0]
