"""An opened model file as a net that Ultralytics' validator scores like its own."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from secateur.ports import Session


class FileNet(nn.Module):
    """Its forward pass is the runtime's; it is never copied, since a session cannot be."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.task = session.metadata["task"]
        self.names = ast.literal_eval(session.metadata["names"])
        self.end2end = session.metadata.get("end2end") == "True"

    def __deepcopy__(self, memo: object) -> FileNet:
        return self

    def forward(self, images: Tensor) -> list[Tensor]:
        """(n, 3, height, width), as many at a time as the file takes; the last ones are filled up with zeros."""
        outputs = [self._outputs(part) for part in images.split(self.session.input_shape[0])]
        return [torch.cat(parts) for parts in zip(*outputs, strict=True)]

    def _outputs(self, part: Tensor) -> list[Tensor]:
        image = np.zeros(self.session.input_shape, np.float32)
        image[: len(part)] = part.cpu().numpy()
        return [torch.from_numpy(output)[: len(part)].to(part.device) for output in self.session.run(image)]
