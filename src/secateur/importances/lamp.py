"""A channel's share of the squared weights of its group that are no smaller than its own (Lee et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from secateur.ports import GroupView, Needs

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Lamp:
    """Within a group it orders as `magnitude` does; across groups each one's largest channel scores 1, so none is
    emptied and narrow groups are spared."""

    needs: ClassVar[Needs] = "weights"

    def score(self, group: GroupView) -> Tensor:
        return group.torch_pruning("LAMPImportance")
