"""INT8 after quantization-aware training: the weights learn to bear the rounding, then the net is calibrated anew.

The training is Ultralytics' own (`quantize=8`, by NVIDIA's ModelOpt): it rounds the weights of each convolution, one
scale a channel, and what goes into it. Its export places the roundings for TensorRT and leaves each SiLU in float, with
which ONNX Runtime is slower than with FP32. So the weights alone are taken over, and the file is made by `int8_static`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar

from secateur.errors import SpecError
from secateur.quantizers.int8_static import Int8Static
from secateur.specs import Training, require, require_alone

if TYPE_CHECKING:
    from pathlib import Path

    from secateur.ports import Image

VERSION = 1  # raise when the same fields give another file, as with that of `int8_static`


@dataclass(frozen=True)
class Int8Qat:
    """`training` is done before, on the net as it was pruned and fine-tuned; the rest is `int8_static` as it comes."""

    name: ClassVar[str] = "int8_qat"
    libraries: ClassVar[tuple[str, ...]] = ("nvidia-modelopt",)
    training: Training
    images: int = 64

    def __post_init__(self) -> None:
        require_alone(self.training)
        require(self.training.epochs > 0, "training.epochs must be 1 or more; for none take int8_static")
        precision = self.training.precision
        require(precision == "fp32", f"training.precision must be fp32, in which INT8 is rounded, got {precision}")
        self._static()

    def check(self) -> None:
        """Raises SpecError where ModelOpt, or what it does not say that it needs, is not installed."""
        if any(find_spec(library) is None for library in ("modelopt", "huggingface_hub")):
            raise SpecError("quantization=int8_qat needs NVIDIA's ModelOpt: pip install 'secateur[qat]'")

    def quantize(self, model: Path, calibration: Iterable[Image], out: Path) -> None:
        """Writes `out` from the net as it was trained; raises ExportError as `int8_static` does."""
        self._static().quantize(model, calibration, out)

    def _static(self) -> Int8Static:
        return Int8Static(images=self.images)
