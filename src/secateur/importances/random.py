"""Channels drawn by lot, the control that a criterion has to beat (Li et al. 2022)."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from secateur.ports import GroupView, Needs

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Random:
    """By the seed and the group's name alone; torch_pruning's own class draws from the global generator."""

    needs: ClassVar[Needs] = "weights"
    seed: int = 0

    def score(self, group: GroupView) -> Tensor:
        import torch

        lot = zlib.crc32(f"{self.seed} {group.name}".encode())
        return torch.rand(group.channels, generator=torch.Generator().manual_seed(lot))
