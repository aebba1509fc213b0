"""Which quantized tensors their 8 bits do not hold: judged from the scales, and measured on pictures if there are some.

The known case is a tensor that joins coordinates of hundreds of pixels with probabilities: one scale that reaches the
former leaves the latter one level or two, and the mAP is 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from secateur.doctor.graph import RESHAPING, TO_FLOAT, TO_INT, Graph
from secateur.examination import Finding, TensorRange
from secateur.intake import answers
from secateur.quantizers._ranges import SILU_LOWEST

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto

    from secateur.ports import Image, Runtime

    Floats = NDArray[np.float32]

FEW = 8  # levels: a part of a tensor that has fewer is told
CROWDED = 0.99  # share of the values on which levels are counted
CROWD = 2  # levels: where no more hold that share, the scale is too coarse
BEYOND = 0.05  # of the distance of the ends: by as much a value lies outside that counts as clipped
CLIPPED = 0.01  # share of the values that is told
BOUNDED = {"Sigmoid": 1.0, "Softmax": 1.0}  # how wide what they give is


def examine(
    graph: Graph, net: ModelProto, runtime: Runtime, pictures: Iterable[Image] | None
) -> tuple[TensorRange, ...]:
    """The worst first; without pictures, only what the scales give away."""
    quantizing = [node for node in graph.graph.node if node.op_type == TO_INT and not graph.is_weight(node)]
    seen = _observe(graph, net, quantizing, runtime, pictures) if quantizing and pictures is not None else {}
    found = [_judged(node, graph, seen) for node in quantizing]
    return tuple(sorted(filter(None, found), key=lambda tensor: -tensor.step))


def findings(found: tuple[TensorRange, ...]) -> list[Finding]:
    """One at most, which tells of the first and counts the others; `found` has the worst first."""
    if not found:
        return []
    first = found[0]
    others = f" (and {len(found) - 1} more tensors)" if len(found) > 1 else ""
    return [
        Finding(
            "ranges", "wrong", f"{first.tensor}: {first.problem}{others}",
            "quantize the FP32 file anew with quantization=int8_static, which leaves the decode in float; "
            "where values are clipped, with more pictures of the kind that it will see (quantization.images=…)",
        )
    ]  # fmt: skip


def _judged(node: NodeProto, graph: Graph, seen: Mapping[str, _Seen]) -> TensorRange | None:
    step, ends = graph.step(node), graph.ends(node)
    if step is None or ends is None:
        return None
    tensor, found = node.input[0], seen.get(node.input[0])
    problem = _bad_scale(step) or _coarse_parts(tensor, step, graph, seen)
    if found and not problem:
        problem = _clipped(found) or (None if _bounded(tensor, graph) else _crowded(found))
    if not problem:
        return None
    low, high = ends
    if found is None:
        return TensorRange(tensor, low, high, step, problem)
    return TensorRange(tensor, low, high, step, problem, found.low, found.high, found.clipped_share)


def _bad_scale(step: float) -> str | None:
    return None if np.isfinite(step) and step > 0 else f"its scale is {step:g}, which is none"


def _coarse_parts(tensor: str, step: float, graph: Graph, seen: Mapping[str, _Seen]) -> str | None:
    """Where one scale is for parts of very different ranges: the part that is left the fewest levels."""
    parts = _parts(tensor, graph)
    widths = {part: width for part in parts if (width := _width(part, graph, seen)) is not None}
    if not widths:
        return None
    part = min(widths, key=lambda name: (_bounded(name, graph) is None, widths[name]))
    levels = widths[part] / step
    if levels >= FEW or not _matters(part, graph, widths, step):
        return None
    joined = f" is joined with values of up to {256 * step:.3g}" if len(parts) > 1 else ""
    return (
        f"{_called(part, graph)}, all of whose values lie within {widths[part]:.3g},{joined or ' is quantized'} under "
        f"one scale: a level is {step:.3g}, so {levels:.1f} levels of 256 are left for it"
    )


def _matters(part: str, graph: Graph, widths: Mapping[str, float], step: float) -> bool:
    """A part that is all but constant is no loss, unless it is of probabilities."""
    return _bounded(part, graph) is not None or widths[part] > step / 256


def _parts(tensor: str, graph: Graph) -> list[str]:
    """What a Concat joins in it; the tensor itself where there is none."""
    node = graph.producers.get(_moved_from(tensor, graph))
    return list(node.input) if node is not None and node.op_type == "Concat" else [tensor]


def _width(part: str, graph: Graph, seen: Mapping[str, _Seen]) -> float | None:
    """Largest less smallest value, by what makes it, or as it was seen; None where nobody knows."""
    if (width := _bounded(part, graph)) is not None:
        return width
    if part in seen:
        return seen[part].high - seen[part].low
    node = graph.producers.get(_moved_from(part, graph))
    if node is None or node.op_type != TO_FLOAT or graph.is_weight(node):
        return None
    step = graph.step(node)
    return None if step is None else 255 * step


def _bounded(part: str, graph: Graph) -> float | None:
    node = _made_by(part, graph)
    return None if node is None else BOUNDED.get(node.op_type)


def _called(part: str, graph: Graph) -> str:
    node = _made_by(part, graph)
    return part if node is None else f"{node.op_type} {node.name}"


def _made_by(part: str, graph: Graph) -> NodeProto | None:
    """The operator that computed it, whatever it was moved and converted through since."""
    node = graph.producers.get(_moved_from(part, graph))
    while node is not None and node.op_type in (TO_FLOAT, TO_INT):
        node = graph.producers.get(_moved_from(node.input[0], graph))
    return node


def _moved_from(tensor: str, graph: Graph) -> str:
    node = graph.producers.get(tensor)
    while node is not None and node.op_type in RESHAPING:
        tensor = node.input[0]
        node = graph.producers.get(tensor)
    return tensor


# ---- measured on pictures -----------------------------------------------------------------------


@dataclass(frozen=True)
class _Seen:
    """A tensor on all pictures; `crowd` is how many levels hold nearly all of its values, None where it has none."""

    low: float
    high: float
    clipped_share: float | None
    crowd: int | None


def _clipped(found: _Seen) -> str | None:
    if found.clipped_share is None or found.clipped_share <= CLIPPED:
        return None
    return f"{found.clipped_share:.1%} of its values are clipped, seen {found.low:.3g} to {found.high:.3g}"


def _crowded(found: _Seen) -> str | None:
    """Not asked of probabilities: nearly all of them are 0 in any net."""
    if found.crowd is None or found.crowd > CROWD:
        return None
    return f"{CROWDED:.0%} of its values fall on {found.crowd} of 256 levels, seen {found.low:.3g} to {found.high:.3g}"


def _observe(
    graph: Graph, net: ModelProto, quantizing: list[NodeProto], runtime: Runtime, pictures: Iterable[Image]
) -> dict[str, _Seen]:
    """The tensors that are quantized, before they are, and the parts that are joined in them."""
    readers = {node.input[0]: node for node in quantizing}
    computed = graph.producers.keys() - graph.constants.keys()
    names = sorted({part for tensor in readers for part in (tensor, *_parts(tensor, graph))} & computed)
    if not names:
        return {}  # only the picture itself is quantized
    tallies = {name: _Tally() for name in names}
    with TemporaryDirectory(prefix="secateur-") as folder:
        session = runtime.open(_with_outputs(net, names, Path(folder) / "observed.onnx"))
        for given in answers(session, pictures):
            for name, values in zip(names, given[-len(names) :], strict=True):
                node = readers.get(name)
                tallies[name].add(
                    values, node and graph.step(node), node and graph.ends(node), node and _floor(node, graph)
                )
    return {name: tally.seen() for name, tally in tallies.items()}


def _floor(node: NodeProto, graph: Graph) -> float | None:
    """From where down nothing is lost by clipping: a SiLU gives next to nothing far below 0, so that `int8_static` ends
    ranges there. None where something else reads the tensor, or the range ends before the SiLU's lowest value."""
    read = [reader for back in graph.consumers[node.output[0]] for reader in graph.consumers[back.output[0]]]
    ends = graph.ends(node)
    silu = sorted(reader.op_type for reader in read) == ["Mul", "Sigmoid"]
    return ends[0] if silu and ends and ends[0] <= SILU_LOWEST else None


def _with_outputs(net: ModelProto, tensors: list[str], out: Path) -> Path:
    """A copy of the file that gives these tensors too."""
    import onnx

    wider = onnx.ModelProto()
    wider.CopyFrom(net)
    own = {output.name for output in net.graph.output}
    for name in tensors:
        source = name
        if name in own:
            source = f"{name}_observed"
            wider.graph.node.append(onnx.helper.make_node("Identity", [name], [source]))
        wider.graph.output.append(onnx.helper.make_tensor_value_info(source, onnx.TensorProto.FLOAT, None))
    onnx.save(wider, out)
    return out


class _Tally:
    """What is seen of one tensor, picture by picture."""

    def __init__(self) -> None:
        self.low, self.high = np.inf, -np.inf
        self.clipped = self.size = 0
        self.levels: NDArray[np.int64] | None = None

    def add(
        self, values: Floats, step: float | None, ends: tuple[float, float] | None, floor: float | None = None
    ) -> None:
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        if step is None or ends is None or not np.isfinite(step) or not step > 0:
            return
        low, high = ends
        self.size += values.size
        margin = BEYOND * (high - low)
        below = values < low - margin if floor is None else np.False_
        self.clipped += int((below | (values > high + margin)).sum())
        level = np.clip(np.nan_to_num((values - low) / step), 0, 255).round().astype(np.uint8)
        counts = np.bincount(level.reshape(-1), minlength=256)
        self.levels = counts if self.levels is None else self.levels + counts

    def seen(self) -> _Seen:
        share = self.clipped / self.size if self.size else None
        return _Seen(self.low, self.high, share, None if self.levels is None else _crowd(self.levels))


def _crowd(levels: NDArray[np.int64]) -> int:
    """How many of the fullest levels hold CROWDED of the values."""
    held = np.cumsum(np.sort(levels)[::-1])
    return int(np.searchsorted(held, CROWDED * held[-1]) + 1)
