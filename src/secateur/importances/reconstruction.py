"""What the layers that read a channel lose without it at best (Hassibi & Stork 1993; Kurtic et al. 2023, ZipLM).

Channels of a group are taken away step by step: always those whose loss the others can make up for best, when each
layer that reads the group is solved for again by least squares. A channel's score is the share of those layers' output
variance that goes with it. What is cut by this score is meant to be mended by `healing=least_squares`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from secateur.ports import GroupView, Needs, Reader

if TYPE_CHECKING:
    from torch import Tensor

VERSION = 2  # raise when the same fields score differently
PORTIONS = 32  # a wide group loses several channels before the rest is looked at again


@dataclass(frozen=True)
class Reconstruction:
    """`ridge` is in shares of the inputs' mean variance; `share` is how much of a group is put in order."""

    needs: ClassVar[Needs] = "inputs"
    ridge: float = 0.001
    share: float = 0.8

    def __post_init__(self) -> None:
        if self.ridge <= 0:
            raise ValueError(f"ridge must be above 0, got {self.ridge}")
        if not 0 < self.share < 1:
            raise ValueError(f"share must be in (0, 1), got {self.share}")

    def score(self, group: GroupView) -> Tensor:
        import torch

        readers = [_Reader(reader, self.ridge) for reader in group.readers()]
        if not readers:
            return torch.zeros(group.channels)  # says nothing
        scores = torch.full((group.channels,), torch.inf)
        worst = torch.zeros(())
        while scores.isfinite().sum() < self.share * group.channels:
            losses = torch.stack([reader.losses() for reader in readers]).sum(0)
            losses[scores.isfinite()] = torch.inf
            least = losses.argsort()[: max(1, group.channels // PORTIONS)]
            scores[least] = torch.maximum(worst * (1 + 1e-6), losses[least])  # what goes later is worth more
            worst = scores[least].max()
            for reader in readers:
                reader.remove(least)
        return torch.where(scores.isfinite(), scores, 2 * worst + 1e-9)


class _Reader:
    """A layer that reads the group, as channels are taken from it."""

    def __init__(self, reader: Reader, ridge: float) -> None:
        import torch

        covariance = reader.covariance.double()
        self.weights = reader.weights.double()  # (inputs, outputs)
        self.energy = (self.weights * (covariance @ self.weights)).sum()
        covariance.diagonal().add_(ridge * covariance.diagonal().mean())
        self.inverse = torch.linalg.inv(covariance).float()
        self.weights, self.energy = self.weights.float(), self.energy.float()
        self.rows = reader.rows  # (channels, inputs of each)
        self.gone = torch.zeros(len(self.rows), dtype=torch.bool)

    def losses(self) -> Tensor:
        """(channels,); the share of the output's variance that goes with each, the others solved for again."""
        import torch

        blocks = self.inverse[self.rows[:, :, None], self.rows[:, None, :]]
        blocks[self.gone] = torch.eye(blocks.shape[-1])
        own = self.weights[self.rows]  # (channels, inputs of each, outputs)
        lost: Tensor = (own * torch.linalg.solve(blocks, own)).sum((1, 2)) / self.energy
        return lost

    def remove(self, channels: Tensor) -> None:
        import torch

        rows = self.rows[channels].flatten()
        outputs = self.weights.shape[1]
        right = torch.cat([self.weights[rows], self.inverse[rows]], dim=1)
        change = torch.linalg.solve(self.inverse[rows][:, rows], right)
        column = self.inverse[:, rows].clone()
        self.weights -= column @ change[:, :outputs]
        self.inverse -= column @ change[:, outputs:]
        self.weights[rows] = 0
        self.gone[channels] = True
