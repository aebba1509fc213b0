"""How strong each channel is where it is read: the root mean square on calibration pictures (Molchanov et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from secateur.ports import GroupView, Needs, Reader

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Activation:
    """Summed over the layers that read the group, in shares of the group's mean: layers differ in scale."""

    needs: ClassVar[Needs] = "inputs"

    # torch_pruning's own class keeps only the last batch, in attributes that it leaves on the layers
    def score(self, group: GroupView) -> Tensor:
        import torch

        strengths = [_root_mean_square(reader) for reader in group.readers()]
        if not strengths:
            return torch.zeros(group.channels)  # says nothing
        total = torch.stack(strengths).sum(0)
        return total / total.mean()


def _root_mean_square(reader: Reader) -> Tensor:
    """(channels,); over all taps and copies of each."""
    squares = reader.covariance.diagonal() + reader.means.square()
    return squares[reader.rows].mean(1).sqrt()
