"""First-order Taylor expansion: how much the loss would change without the channel (Molchanov et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from secateur.ports import GroupView, Needs

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Taylor:
    """Needs the gradients of the training loss."""

    needs: ClassVar[Needs] = "gradients"

    def score(self, group: GroupView) -> Tensor:
        return group.torch_pruning("GroupTaylorImportance")
