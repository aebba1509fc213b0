"""Lp norm of each channel's weights, over all the layers that share it (Li et al. 2017; grouped: Fang et al. 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from secateur.ports import GroupView, Needs

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Magnitude:
    """`p` is the norm's degree."""

    needs: ClassVar[Needs] = "weights"
    p: int = 2

    def __post_init__(self) -> None:
        if self.p not in (1, 2):
            raise ValueError(f"p must be 1 or 2, got {self.p}")

    def score(self, group: GroupView) -> Tensor:
        return group.torch_pruning("GroupMagnitudeImportance", p=self.p)
