"""How much BatchNorm scales each channel by: the mean |gamma| of a group's BatchNorms (Liu et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from secateur.ports import GroupView, Needs

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class BnScale:
    """Says nothing about a group without BatchNorm, such as the prototypes' upsampling."""

    needs: ClassVar[Needs] = "weights"

    def score(self, group: GroupView) -> Tensor:
        return group.torch_pruning("BNScaleImportance")
