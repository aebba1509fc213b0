"""How large the largest weights of each channel are: an example of a criterion of one's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from secateur.ports import GroupView, Needs

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class LargestWeights:
    """The mean of the `top` largest, over the layers that make the channel; in shares of the group's mean."""

    needs: ClassVar[Needs] = "weights"
    top: int = 8

    def __post_init__(self) -> None:
        if self.top < 1:
            raise ValueError(f"top must be 1 or more, got {self.top}")

    def score(self, group: GroupView) -> Tensor:
        """(channels,), larger = keep"""
        import torch

        filters = [weights.abs() for weights in group.filters()]  # (channels, weights) each
        largest = [weights.topk(min(self.top, weights.shape[1])).values.mean(1) for weights in filters]
        scores = torch.stack(largest).sum(0)
        return scores / scores.mean()
