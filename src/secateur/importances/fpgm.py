"""Distance of each filter from the others: near the geometric median, others can stand in for it (He et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from secateur.ports import GroupView, Needs

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Fpgm:
    """In shares of the group's mean distance, so that wide groups and large weights do not count for more."""

    needs: ClassVar[Needs] = "weights"

    def score(self, group: GroupView) -> Tensor:
        import torch

        # torch_pruning's own class squares the weights first: opposite filters would be the same to it
        distances = torch.stack([torch.cdist(own, own).sum(1) for own in group.filters()]).sum(0)
        return distances / distances.mean()
