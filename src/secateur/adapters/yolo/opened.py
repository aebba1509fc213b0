"""An opened model file as a net that Ultralytics' validator scores like its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from secateur.intake import answers, literal

if TYPE_CHECKING:
    from secateur.ports import Session


class FileNet(nn.Module):
    """Its forward pass is the runtime's; it is never copied, since a session cannot be."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.task = session.metadata["task"]
        self.names = literal(session.metadata["names"])

    def __deepcopy__(self, memo: object) -> FileNet:
        return self

    def forward(self, images: Tensor) -> list[Tensor]:
        """(n, 3, height, width), whatever number the file takes at once."""
        each = zip(*answers(self.session, images.cpu().numpy()[:, None]), strict=True)
        return [torch.from_numpy(np.concatenate(parts)).to(images.device) for parts in each]
