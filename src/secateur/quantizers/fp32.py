"""No quantization: the exported FP32 file ships as it is."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from pathlib import Path

    from secateur.ports import Image

VERSION = 1  # raise when the same fields give another file


@dataclass(frozen=True)
class Fp32:
    """Copies the file; takes no calibration pictures."""

    name: ClassVar[str] = "fp32"
    images: ClassVar[int] = 0
    any_shape: ClassVar[bool] = True

    def quantize(self, model: Path, calibration: Iterable[Image], out: Path) -> None:
        shutil.copyfile(model, out)
