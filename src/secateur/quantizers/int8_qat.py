"""INT8 after quantization-aware training: the weights learn to bear the rounding, then the net is calibrated anew.

The training is Ultralytics' own (`quantize=8`, by NVIDIA's ModelOpt): it rounds the weights of each convolution, one
scale a channel, and what goes into it. Its export places the roundings for TensorRT and leaves each SiLU in float, with
which ONNX Runtime is slower than with FP32. So the weights alone are taken over, and the file is made by `int8_static`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import ClassVar

from secateur.errors import SpecError, require
from secateur.quantizers import int8_static
from secateur.quantizers.int8_static import Int8Static
from secateur.specs import Training, require_alone

VERSION = f"{int8_static.VERSION}.1"  # raise the latter number when the same fields give another file


@dataclass(frozen=True)
class Int8Qat(Int8Static):
    """`training` is done before, on the net as it was pruned and fine-tuned; the rest is as in `int8_static`."""

    name: ClassVar[str] = "int8_qat"
    libraries: ClassVar[tuple[str, ...]] = ("nvidia-modelopt",)
    training: Training = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_alone(self.training)
        require(self.training.epochs > 0, "training.epochs must be 1 or more; for none take int8_static")
        precision = self.training.precision
        require(precision == "fp32", f"training.precision must be fp32, in which INT8 is rounded, got {precision}")

    def check(self) -> None:
        """Raises SpecError where ModelOpt, or what it does not say that it needs, is not installed."""
        if any(find_spec(library) is None for library in ("modelopt", "huggingface_hub")):
            raise SpecError("quantization=int8_qat needs NVIDIA's ModelOpt: pip install 'secateur[qat]'")
