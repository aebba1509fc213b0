"""Between which bounds the tensors of a net lie on calibration pictures.

ONNX Runtime's own entropy and percentile calibrators keep every value of every picture, or bins without end: here one
picture is looked at at a time, and nothing of it stays but a few numbers, or a histogram of fixed size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from secateur.errors import ExportError
from secateur.intake import answers
from secateur.quantizers._graph import copied
from secateur.quantizers._histogram import Histogram
from secateur.runtimes.onnxruntime import Onnxruntime

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import GraphProto, ModelProto, NodeProto

    from secateur.ports import Image

Calibrator = Literal["minmax", "mean_minmax", "percentile", "entropy"]
Ranges = dict[str, tuple[float, float]]

SILU_LOWEST = -1.278465  # where a SiLU is lowest: from there down it rises towards 0
LOOKS = 1000


class _Bounds(Protocol):
    """What is kept of one tensor."""

    def add(self, values: NDArray[Any]) -> None:
        """Takes what one picture gives."""


class _Minmax:
    """The smallest and the largest value of each picture."""

    def __init__(self) -> None:
        self.lows: list[float] = []
        self.highs: list[float] = []

    def add(self, values: NDArray[Any]) -> None:
        self.lows.append(float(values.min()))
        self.highs.append(float(values.max()))


def measure(
    net: ModelProto, tensors: Sequence[str], pictures: Iterable[Image], calibrator: Calibrator, percentile: float
) -> Ranges:
    """Of each tensor; raises ExportError where no picture came or one gives what is no number."""
    kept, range_of = _method(calibrator, percentile)
    found: list[Any] = [kept() for _ in tensors]
    taken = 0
    with TemporaryDirectory(prefix="secateur-calibrate-") as folder:
        session = Onnxruntime(threads=0).open(_that_gives(net, tensors, Path(folder) / "net.onnx"))
        for taken, given in enumerate(answers(session, pictures), start=1):
            for name, bounds, values in zip(tensors, found, given, strict=True):
                if not np.isfinite(values).all():
                    raise ExportError(f"{name} is not finite on calibration picture {taken}: the net is broken")
                bounds.add(values)
    if not taken:
        raise ExportError("no calibration pictures came")
    return {name: range_of(bounds) for name, bounds in zip(tensors, found, strict=True)}


def _method(
    calibrator: Calibrator, percentile: float
) -> tuple[Callable[[], _Bounds], Callable[[Any], tuple[float, float]]]:
    """What is kept of a tensor, and which range follows."""
    match calibrator:
        case "minmax":
            return _Minmax, lambda seen: (min(seen.lows), max(seen.highs))
        case "mean_minmax":
            return _Minmax, lambda seen: (float(np.mean(seen.lows)), float(np.mean(seen.highs)))
        case "percentile":
            return Histogram, lambda seen: seen.percentile(percentile)
        case "entropy":
            return Histogram, lambda seen: seen.entropy(levels=256)


def clipped_before_silu(ranges: Ranges, graph: GraphProto, levels: int) -> Ranges:
    """The same without what a SiLU cannot tell apart: far below 0 it gives next to nothing, and a range that ends where
    that is half a level of its output resolves all above it better."""
    return {**ranges, **{name: _before_silu(*ranges[name], levels) for name in _silu_inputs(graph) if name in ranges}}


def _before_silu(low: float, high: float, levels: int) -> tuple[float, float]:
    below = np.linspace(SILU_LOWEST, low, LOOKS) if low < SILU_LOWEST else np.array([low])
    level = (_silu(np.float64(max(high, 0))) - _silu(np.float64(SILU_LOWEST))) / levels
    nothing = below[-_silu(below) <= level / 2]
    return (float(nothing[0]) if len(nothing) else low), high


def _silu(x: Any) -> Any:
    return x / (1 + np.exp(-x))


def _silu_inputs(graph: GraphProto) -> list[str]:
    """The tensors that are read by a sigmoid and by the product with it, and by nothing else."""
    readers: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    sigmoids = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Sigmoid"}
    products = [node for node in graph.node if node.op_type == "Mul"]
    return [
        sigmoids[gate] for node in products for gate in node.input
        if gate in sigmoids and sigmoids[gate] in node.input and len(readers[sigmoids[gate]]) == 2
    ]  # fmt: skip


def tensors_of(graph: GraphProto, nodes: set[str]) -> list[str]:
    """The float tensors that such nodes read or give, in the graph's order."""
    from onnx import TensorProto

    floats = {
        entry.name
        for entry in (*graph.input, *graph.output, *graph.value_info)
        if entry.type.tensor_type.elem_type == TensorProto.FLOAT
    } - {weights.name for weights in graph.initializer}
    touched = [name for node in graph.node if node.name in nodes for name in (*node.input, *node.output)]
    return [name for name in dict.fromkeys(touched) if name in floats]


def _that_gives(net: ModelProto, tensors: Sequence[str], out: Path) -> Path:
    """The net with these tensors as its outputs."""
    import onnx

    copy = copied(net)
    del copy.graph.output[:]
    copy.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in tensors)
    onnx.save(copy, out)
    return out
