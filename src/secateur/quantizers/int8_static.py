"""INT8 for weights and activations, by ONNX Runtime: all of the net but its last convolutions and the decode.

One operator left in float between two quantized ones costs two conversions of its whole tensor; a net of which only the
convolutions are quantized, each SiLU in float, is slower than the FP32 one. What stays in float is at the very end: the
decode, as it holds coordinates of hundreds of pixels and probabilities in one tensor, which no single scale resolves,
and the convolutions before it, as their 256 levels of confidence would leave the ranking of the boxes to chance.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from secateur.errors import ExportError
from secateur.quantizers import _graph

if TYPE_CHECKING:
    from secateur.ports import Image

VERSION = 1  # raise when the same fields give another file


@dataclass(frozen=True)
class Int8Static:
    """Weights are signed, activations as said, each in the range that the calibration pictures showed.

    `minmax` takes the smallest and largest value of all pictures, `mean_minmax` the mean of each picture's: it clips
    rare values and resolves the others better.
    """

    name: ClassVar[str] = "int8_static"
    images: int = 64
    per_channel: bool = True
    activations: Literal["uint8", "int8"] = "uint8"
    calibrator: Literal["minmax", "mean_minmax"] = "mean_minmax"
    reduce_range: bool = False  # 7-bit weights, for x86 without VNNI: its 16-bit sums overflow with 8

    def __post_init__(self) -> None:
        if self.images < 1:
            raise ValueError(f"images must be 1 or more, got {self.images}")
        if self.activations not in ("uint8", "int8"):
            raise ValueError(f"activations must be uint8 or int8, got {self.activations!r}")
        if self.calibrator not in ("minmax", "mean_minmax"):
            raise ValueError(f"calibrator must be minmax or mean_minmax, got {self.calibrator!r}")

    def quantize(self, model: Path, calibration: Iterable[Image], out: Path) -> None:
        """Writes `out`; raises ExportError where the model cannot be read or no picture came."""
        with TemporaryDirectory(dir=out.parent, prefix=".int8-") as folder:
            prepared = Path(folder) / "prepared.onnx"
            graph = _graph.prepare(model, prepared)
            pictures = _Pictures(graph.input[0].name, calibration)
            try:
                self._quantize(prepared, pictures, keep_float=_graph.float_nodes(graph), out=out)
            except ValueError as error:
                why = str(error) if pictures.taken else "no calibration pictures came"
                raise ExportError(f"cannot quantize {model}: {why}") from error

    def _quantize(self, model: Path, pictures: _Pictures, keep_float: set[str], out: Path) -> None:
        from onnxruntime.quantization import QuantType, quantize_static

        quantize_static(
            model,
            out,
            pictures,
            per_channel=self.per_channel,
            reduce_range=self.reduce_range,
            activation_type=QuantType.QUInt8 if self.activations == "uint8" else QuantType.QInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=sorted(keep_float),
            extra_options={"CalibMovingAverage": self.calibrator == "mean_minmax"},
        )


class _Pictures:
    """Calibration pictures as ONNX Runtime takes them, one at a time."""

    def __init__(self, input_name: str, pictures: Iterable[Image]) -> None:
        self._input_name = input_name
        self._pictures = iter(pictures)
        self.taken = 0

    def get_next(self) -> dict[str, Any] | None:
        picture = next(self._pictures, None)
        if picture is None:
            return None
        self.taken += 1
        return {self._input_name: picture}
