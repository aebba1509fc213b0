"""What stays in float between quantized operators, in the graph as the runtime runs it.

A DequantizeLinear, a float operator and a QuantizeLinear become one integer operator where the runtime has it and the
scales allow it. Where they do not, all three run, and the tensor goes through memory three times as floats.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from secateur.doctor.graph import RESHAPING, TO_FLOAT, TO_INT, Graph
from secateur.examination import Conversions, Fallback, Finding

if TYPE_CHECKING:
    from onnx import NodeProto

    from secateur.examination import Profile

QUANTIZING = frozenset({TO_INT, "DynamicQuantizeLinear"})
MOVING = RESHAPING | {"Resize", "MaxPool", "NhwcMaxPool", "Concat", "Gather"}  # what they read is what they give
FLOAT_ONLY = frozenset({"ConvTranspose"})  # ONNX Runtime has none on integers
SILU, FUSED_SILU = "SiLU", "QuickGelu"
NOTICED = 0.03  # of a pass: what less costs is not worth a word


def conversions(graph: Graph, profile: Profile) -> Conversions:
    """Those that still run, and the float islands between them."""
    converting = {node.name for node in graph.graph.node if node.op_type in QUANTIZING | {TO_FLOAT}}
    between = _between(graph)
    ms = profile.ms_of(converting)
    return Conversions(len(converting), ms, profile.share(ms), _connected(between), _fallbacks(graph, between, profile))


def findings(found: Conversions, graph: Graph) -> list[Finding]:
    """Why it is slow: operators in float that need not be, and those that nothing can be done about."""
    movable = [fallback for fallback in found.fallbacks if fallback.operator not in FLOAT_ONLY]
    rest = [fallback for fallback in found.fallbacks if fallback.operator in FLOAT_ONLY]
    told = []
    if movable and found.share + sum(fallback.share for fallback in movable) >= NOTICED:
        told.append(_in_float(found, movable, graph))
    if rest and sum(fallback.share for fallback in rest) >= NOTICED:
        told.append(_float_only(rest))
    return told


def _in_float(found: Conversions, movable: list[Fallback], graph: Graph) -> Finding:
    share = found.share + sum(fallback.share for fallback in movable)
    silu = any(fallback.operator == SILU for fallback in movable)
    first = sorted(movable, key=lambda fallback: (fallback.operator != SILU, -fallback.ms))
    text = (
        f"{_listed(first)} in float between quantized operators ({found.islands} islands); "
        f"{found.count} QuantizeLinear and DequantizeLinear nodes run around them ({found.ms:.1f} ms); "
        f"{share:.0%} of the time together"
    )
    signed = _signed_convolutions(graph)
    if signed and silu:
        text += (
            f". {signed} convolutions fell back with their SiLUs: they give signed 8-bit numbers, which ONNX Runtime "
            "fuses on this processor only where one node reads them, and a SiLU in float is two, a Sigmoid and a Mul"
        )
    dynamic = any(node.op_type == "DynamicQuantizeLinear" for node in graph.graph.node)
    why = "ranges are looked for on every pass" if dynamic else "not all operators were quantized"
    return Finding(
        "float_islands", "slow", text,
        f"{why}; quantize the FP32 file anew with quantization=int8_static, "
        f"which takes {'the SiLUs' if silu else 'all'} along and leaves only the end of the net in float",
    )  # fmt: skip


def _float_only(rest: list[Fallback]) -> Finding:
    share = sum(fallback.share for fallback in rest)
    return Finding(
        "float_only", "slow", f"{_listed(rest)} in float, {share:.0%} of the time: ONNX Runtime has none on integers",
        "quantize the FP32 file anew with quantization=int8_static, which writes it as a 1x1 convolution where its "
        "windows do not overlap",
    )  # fmt: skip


def _listed(fallbacks: list[Fallback], most: int = 3) -> str:
    names = [f"{fallback.count} {fallback.operator} ({fallback.ms:.1f} ms)" for fallback in fallbacks[:most]]
    more = sum(fallback.count for fallback in fallbacks[most:])
    return ", ".join(names) + (f" and {more} others" if more else "")


def _between(graph: Graph) -> list[NodeProto]:
    """Float nodes behind a dequantized tensor and before one that is quantized again, in the order of the graph."""
    integers, after = _integers(graph), set[str]()
    behind = []
    for node in graph.graph.node:
        if _dequantizes(node, graph, integers):
            after |= set(node.output)
        elif after & set(node.input) and node.op_type not in QUANTIZING:
            behind.append(node)
            after |= set(node.output)
    before = {name for node in graph.graph.node if node.op_type in QUANTIZING for name in node.input[:1]}
    found = []
    for node in reversed(behind):
        if before & set(node.output):
            found.append(node)
            before |= set(node.input)
    return found[::-1]


def _integers(graph: Graph) -> set[str]:
    """Tensors of integers that depend on the picture."""
    found: set[str] = set()
    for node in graph.graph.node:
        makes = node.op_type in QUANTIZING or node.op_type.startswith("QLinear") or node.op_type.endswith("Integer")
        if makes or (node.op_type in MOVING and found & set(node.input)):
            found |= set(node.output)
    return found


def _dequantizes(node: NodeProto, graph: Graph, integers: set[str]) -> bool:
    if node.op_type == TO_FLOAT:
        return not graph.is_weight(node)
    return node.op_type == "Cast" and node.input[0] in integers


def _connected(nodes: list[NodeProto]) -> int:
    """How many groups they are that hang together."""
    group: dict[str, str] = {}

    def first(name: str) -> str:
        while group[name] != name:
            name = group[name]
        return name

    makers = {output: node.name for node in nodes for output in node.output}
    for node in nodes:
        group[node.name] = node.name
        for maker in (makers[name] for name in node.input if name in makers):
            group[first(maker)] = first(node.name)
    return sum(group[name] == name for name in group)


def _fallbacks(graph: Graph, nodes: list[NodeProto], profile: Profile) -> tuple[Fallback, ...]:
    """By operator, the slowest first; what only moves numbers in memory counts too."""
    silus = {name: mul.name for mul in nodes if (sigmoid := _sigmoid_of(mul, graph)) for name in (sigmoid, mul.name)}
    units: dict[str, set[str]] = defaultdict(set)
    names: dict[str, set[str]] = defaultdict(set)
    for node in nodes:
        operator = SILU if node.name in silus or node.op_type == FUSED_SILU else node.op_type
        units[operator].add(silus.get(node.name, node.name))
        names[operator].add(node.name)
    times = {operator: profile.ms_of(members) for operator, members in names.items()}
    found = [Fallback(name, len(units[name]), ms, profile.share(ms)) for name, ms in times.items()]
    return tuple(sorted(found, key=lambda fallback: -fallback.ms))


def _sigmoid_of(mul: NodeProto, graph: Graph) -> str | None:
    """The Sigmoid that makes a SiLU of it: x · σ(x), whose x may have been dequantized twice."""
    if mul.op_type != "Mul":
        return None
    for at, name in enumerate(mul.input):
        sigmoid = graph.producers.get(name)
        if sigmoid is not None and sigmoid.op_type == "Sigmoid":
            other = mul.input[1 - at]
            return sigmoid.name if _source(sigmoid.input[0], graph) == _source(other, graph) else None
    return None


def _source(name: str, graph: Graph) -> str:
    """The quantized tensor where it is only dequantized, else the tensor itself."""
    node = graph.producers.get(name)
    return node.input[0] if node is not None and node.op_type == TO_FLOAT else name


def _signed_convolutions(graph: Graph) -> int:
    """Convolutions in float whose result is quantized to signed numbers."""
    return sum(
        any(reader.op_type == TO_INT and _zero_type(reader, graph) == "int8" for reader in graph.consumers[made])
        for node in graph.graph.node
        if node.op_type == "Conv"
        for made in node.output
    )


def _zero_type(node: NodeProto, graph: Graph) -> str | None:
    zero = graph.values(node.input[2]) if len(node.input) > 2 else None
    return None if zero is None else str(zero.dtype)
