"""INT8 weights, activations quantized as they come, by ONNX Runtime: no calibration.

Made for nets of large matrix products, such as language models. A YOLO is convolutions: each looks through its whole
input for the smallest and largest value, quantizes it, becomes a ConvInteger, for which ONNX Runtime has no fast
kernel, and gives float to a SiLU in float. Take it for the quarter of the size; for speed take `int8_static`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from secateur.quantizers import _graph

if TYPE_CHECKING:
    from pathlib import Path

    from secateur.ports import Image

VERSION = 1  # raise when the same fields give another file


@dataclass(frozen=True)
class Int8Dynamic:
    """A quarter of the size; takes no calibration pictures. The last convolutions and the decode stay in float."""

    name: ClassVar[str] = "int8_dynamic"
    images: ClassVar[int] = 0
    any_shape: ClassVar[bool] = True

    def quantize(self, model: Path, calibration: Iterable[Image], out: Path) -> None:
        """Writes `out`; raises ExportError where the model cannot be taken."""
        from onnxruntime.quantization import QuantType, quantize_dynamic

        net = _graph.prepare(model)
        quantize_dynamic(
            net,
            out,
            weight_type=QuantType.QUInt8,  # signed ones overflow the 16-bit sums of x86 without VNNI
            nodes_to_exclude=sorted(_graph.float_nodes(net.graph)),
        )
