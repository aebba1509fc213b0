"""BatchNorm statistics of the pruned net, counted anew on calibration pictures (Li et al. 2020, EagleEye)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from secateur.ports import Cut, Progress

if TYPE_CHECKING:
    from torch import Tensor, nn

VERSION = 1  # raise when the same fields mend a net differently


@dataclass(frozen=True)
class Batchnorm:
    """Takes `images` calibration pictures."""

    images: int = 256
    batch: int = 32

    def __post_init__(self) -> None:
        if self.images < 1:
            raise ValueError(f"images must be 1 or more, got {self.images}")
        if self.batch < 2:
            raise ValueError(f"batch must be 2 or more, got {self.batch}")

    def heal(self, cut: Cut, pictures: Tensor, seed: int, progress: Progress) -> None:
        import torch

        norms = _forget(cut.net)
        with torch.no_grad():
            for start in range(0, len(pictures), self.batch):
                cut.net(pictures[start : start + self.batch])
                progress(min(start + self.batch, len(pictures)), len(pictures))
        for norm, momentum in norms:
            norm.momentum = momentum
        cut.net.eval()


def _forget(net: nn.Module) -> list[tuple[nn.BatchNorm2d, float | None]]:
    """Empties the statistics and lets them become the plain mean over all batches; the momenta there were."""
    from torch import nn

    net.eval()
    norms = [(module, module.momentum) for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm, _ in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    return norms
