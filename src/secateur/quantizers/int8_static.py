"""INT8 for weights and activations, by ONNX Runtime: all of the net but the decode.

One operator left in float between two quantized ones costs two conversions of its whole tensor; a net of which only the
convolutions are quantized, each SiLU in float, is slower than the FP32 one. A SiLU runs as QLinearSigmoid and
QLinearMul. What stays in float is at the very end: the decode, as it holds coordinates of hundreds of pixels and
probabilities in one tensor, which no single scale resolves. The convolutions before it take INT8 and give float, as 256
levels of confidence would leave the ranking of the boxes to chance; where they cannot, they stay in float too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from secateur import processor
from secateur.errors import ExportError
from secateur.plugins import nearest
from secateur.quantizers import _forms, _graph, _ranges

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import GraphProto, ModelProto

    from secateur.ports import Image

LEVELS = 255
VERSION = 2  # raise when the same fields give another file


@dataclass(frozen=True)
class Int8Static:
    """Weights are signed, activations as said, each in the range that the calibration pictures showed.

    `minmax` takes the smallest and largest value of all pictures, `mean_minmax` the mean of each picture's,
    `percentile` leaves out the outermost values, `entropy` clips where that keeps the most of how they are spread.
    `auto` is what suits the processor that this runs on; for another device, say what suits that.
    """

    name: ClassVar[str] = "int8_static"
    any_shape: ClassVar[bool] = False
    images: int = 128
    per_channel: bool = True
    symmetric: bool = False  # activations' ranges, around 0
    calibrator: _ranges.Calibrator = "mean_minmax"
    percentile: float = 99.99
    activations: Literal["auto", "uint8", "int8"] = "auto"
    reduce_range: Literal["auto"] | bool = "auto"  # 7-bit weights, for x86 without VNNI: its 16-bit sums overflow

    def __post_init__(self) -> None:
        if self.images < 1:
            raise ValueError(f"images must be 1 or more, got {self.images}")
        if not 50 < self.percentile <= 100:
            raise ValueError(f"percentile must be in (50, 100], got {self.percentile}")
        if self.calibrator not in get_args(_ranges.Calibrator):
            known = get_args(_ranges.Calibrator)
            near = nearest(str(self.calibrator), known)
            raise ValueError(f"calibrator must be one of {', '.join(known)}, got {self.calibrator!r}{near}")
        if self.activations not in ("auto", "uint8", "int8"):
            raise ValueError(f"activations must be auto, uint8 or int8, got {self.activations!r}")
        machine, flags = processor.here()
        if self.activations == "auto":
            object.__setattr__(self, "activations", processor.activations_for(machine))
        if self.reduce_range == "auto":
            saturates = self.activations == "uint8" and processor.saturates(machine, flags)
            object.__setattr__(self, "reduce_range", saturates)

    def quantize(self, model: Path, calibration: Iterable[Image], out: Path) -> None:
        """Writes `out`; raises ExportError where the model cannot be read or no picture came."""
        import onnx

        net = integer_forms(model)
        keep_float = float_nodes(net.graph)
        ranges = self.ranges(model, net, keep_float, calibration)
        onnx.save(self.with_integers(net, ranges, keep_float), out)

    def ranges(
        self, model: Path, net: ModelProto, keep_float: set[str], calibration: Iterable[Image]
    ) -> _ranges.Ranges:
        """Of every tensor that is to be quantized; raises ExportError, which names `model`, where they are unknown."""
        quantized = {node.name for node in net.graph.node} - keep_float
        tensors = _ranges.tensors_of(net.graph, quantized)
        try:
            measured = _ranges.measure(net, tensors, calibration, self.calibrator, self.percentile)
        except ExportError as error:
            raise ExportError(f"cannot quantize {model}: {error}") from error
        return _ranges.clipped_before_silu(measured, net.graph, LEVELS)

    def with_integers(self, net: ModelProto, ranges: _ranges.Ranges, keep_float: set[str]) -> ModelProto:
        """A copy in INT8 but for the nodes of these names."""
        import numpy as np
        from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType
        from onnxruntime.quantization.calibrate import TensorsData
        from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

        quantizer = QDQQuantizer(
            _graph.copied(net),
            per_channel=self.per_channel,
            reduce_range=self.reduce_range,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8 if self.activations == "uint8" else QuantType.QInt8,
            tensors_range=TensorsData(
                CalibrationMethod.MinMax,
                {name: (np.float32(low), np.float32(high)) for name, (low, high) in ranges.items()},
            ),
            nodes_to_quantize=[],
            nodes_to_exclude=sorted(keep_float),
            op_types_to_quantize=sorted({*QDQRegistry, *QLinearOpsRegistry}),
            extra_options={
                "ActivationSymmetric": self.symmetric,
                "OpTypesToExcludeOutputQuantization": ["Gemm"],  # the last convolutions: they give float
            },
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
        quantized: ModelProto = quantizer.model.model
        return quantized


def integer_forms(model: Path) -> ModelProto:
    """The net in the forms that INT8 kernels take; raises ExportError where the model cannot be taken."""
    net = _graph.prepare(model)
    _graph.require_one_shape(net, model)
    return _forms.rewrite(net)


def float_nodes(graph: GraphProto) -> set[str]:
    """Names of those that stay in float whatever the data: the decode, and last convolutions that are no product."""
    products = {node.name for node in graph.node if node.op_type == "Gemm"}
    return _graph.float_nodes(graph) - products
