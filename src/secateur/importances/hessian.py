"""Optimal Brain Damage: squared weights times the loss' curvature, a group's summed (LeCun et al. 1989)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from secateur.ports import GroupView, Needs

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Hessian:
    """The mean of the squared gradients of single pictures stands in for the Hessian's diagonal."""

    needs: ClassVar[Needs] = "squared_gradients"

    def score(self, group: GroupView) -> Tensor:
        return group.torch_pruning("GroupHessianImportance")
