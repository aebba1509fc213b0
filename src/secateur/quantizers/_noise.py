"""Where in a quantized net the noise arises: each layer's signal over its noise, against the float net's.

One graph holds the float net, the quantized net, and each quantized layer once more, fed with what the float net feeds
it. So one pass of a picture gives what a layer alone adds, and what has come together by then. Layers meet by the names
of the tensors that they read and give, which the quantizers keep, whatever forms they give the nodes in between.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.intake import answers
from secateur.quantizers import _graph
from secateur.results import LayerNoise
from secateur.runtimes.onnxruntime import Onnxruntime

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import GraphProto, ModelProto, NodeProto

    from secateur.ports import Image

GATES = frozenset({"Sigmoid", "HardSigmoid"})
ACTIVATIONS = frozenset({"Relu", "LeakyRelu", "Clip", "HardSwish"})
TO_FLOAT = "DequantizeLinear"
PRODUCTS = frozenset({"ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul"})


@dataclass(frozen=True)
class _Layer:
    """A layer of both nets: `source` and `target` are the float net's tensors before and behind it, `given` is the
    quantized net's, as the next layers get it, and `nodes` are the quantized net's from `source` to `given`."""

    name: str
    source: str
    target: str
    given: str
    nodes: tuple[NodeProto, ...]
    kept_float: bool


def measure(model: Path, quantized: Path, pictures: Iterable[Image]) -> tuple[LayerNoise, ...]:
    """Of each convolution with its activation, in the order they run in; none where nothing is quantized.

    Left out are layers that the quantized file does not have, and those without a signal. Raises ExportError where the
    float file cannot be read.
    """
    import onnx

    exact, rounded = _graph.read(model), onnx.load(quantized)
    layers = list(_layers(exact.graph, rounded.graph))
    if all(layer.kept_float for layer in layers):
        return ()
    with TemporaryDirectory(prefix="secateur-noise-") as folder:
        file = Path(folder) / "net.onnx"
        onnx.save(_side_by_side(exact, rounded, layers), file)
        powers = _powers(file, layers, pictures)
    noises = ((layer, *power) for layer, power in zip(layers, powers, strict=True))
    return tuple(
        LayerNoise(layer.name, decibels(signal, noise), decibels(signal, own), layer.kept_float)
        for layer, signal, noise, own in noises
        if signal > 0 and math.isfinite(signal + noise + own)
    )


def decibels(signal: float, noise: float) -> float | None:
    """10·log10 of a ratio of powers; None where there is no noise."""
    return 10 * math.log10(signal / noise) if noise else None


def layer_name(node: str) -> str:
    """`/model.22/cv2.0/cv2.0.2/Conv`, as PyTorch's exporter names it, is `model.22.cv2.0.2` in the net."""
    parts: list[str] = []
    for part in node.strip("/").split("/")[:-1]:
        if parts and part.startswith(f"{parts[-1]}."):
            parts[-1] = part
        else:
            parts.append(part)
    return ".".join(parts) or node


def _powers(file: Path, layers: Sequence[_Layer], pictures: Iterable[Image]) -> NDArray[np.float64]:
    """(layers, 3): of the signal, of the noise that has come together, and of the layer's own; sums over pictures."""
    powers = np.zeros((len(layers), 3))
    names = _outputs(layers)
    for given in answers(Onnxruntime(threads=0).open(file), pictures):
        values = dict(zip(names, given, strict=True))
        for index, layer in enumerate(layers):
            exact = values[layer.target]
            powers[index] += _power(exact), _power(values[_rounded(layer.given)] - exact), 0
            if not layer.kept_float:
                powers[index, 2] += _power(values[_alone(index, layer.given)] - exact)
    return powers


def _power(values: NDArray[Any]) -> float:
    return float(np.vdot(values, values))


# ---- layers -------------------------------------------------------------------------------------


def _layers(exact: GraphProto, rounded: GraphProto) -> Iterator[_Layer]:
    makers, readers, rounded_readers = _graph.producers_of(exact), _readers(exact), _readers(rounded)
    rounded_makers = _graph.producers_of(rounded)
    tensors = {*rounded_makers, *(entry.name for entry in rounded.input)}
    weights = {entry.name for entry in rounded.initializer}
    for node in exact.node:
        if not _graph.is_learned(node, makers):
            continue
        source, target = node.input[0], _known(_activated(node.output[0], readers), readers, tensors)
        if source not in tensors or target is None:
            continue
        given = _as_read(target, rounded_readers)
        names = _between(rounded_makers, source, given)
        nodes = tuple(other for other in rounded.node if other.output[0] in names)
        kept_float = not any(_is_integer(other, weights) for other in nodes)
        yield _Layer(layer_name(node.name), source, target, given, nodes, kept_float)


def _readers(graph: GraphProto) -> dict[str, list[NodeProto]]:
    readers: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in dict.fromkeys(node.input):
            readers.setdefault(name, []).append(node)
    return readers


def _activated(tensor: str, readers: dict[str, list[NodeProto]]) -> str:
    """What is behind the activation: a rounding before it may clip what an activation sends to 0 anyway."""
    after = {node.op_type: node for node in readers.get(tensor, [])}
    if len(after) == 1 and after.keys() <= ACTIVATIONS:
        return str(next(iter(after.values())).output[0])
    gate, product = next((after[kind] for kind in GATES & after.keys()), None), after.get("Mul")
    if len(after) == 2 and gate and product and gate.output[0] in product.input:
        return str(product.output[0])
    return tensor


def _known(tensor: str, readers: dict[str, list[NodeProto]], tensors: set[str]) -> str | None:
    """The tensor or, where the quantized net does not have it, what it becomes by reshaping; None if neither."""
    while tensor not in tensors:  # the last convolutions may be products by now, with their reshaping in them
        after = readers.get(tensor, [])
        if len(after) != 1 or after[0].op_type not in _graph.RESHAPING:
            return None
        tensor = after[0].output[0]
    return tensor


def _as_read(tensor: str, readers: dict[str, list[NodeProto]]) -> str:
    """The tensor as it is after its rounding, where all that read it get it rounded."""
    after = readers.get(tensor, [])
    if not after or any(node.op_type != "QuantizeLinear" for node in after):
        return tensor
    back = next((node for node in readers.get(after[0].output[0], []) if node.op_type == TO_FLOAT), None)
    return back.output[0] if back else tensor


def _between(makers: dict[str, NodeProto], source: str, target: str) -> set[str]:
    """The first outputs of all nodes on the way from one tensor to the other, and what they read besides."""
    found: set[str] = set()
    waiting = [target]
    while waiting:
        name = waiting.pop()
        node = makers.get(name)
        if name != source and node is not None and node.output[0] not in found:
            found.add(node.output[0])
            waiting += node.input
    return found


def _is_integer(node: NodeProto, weights: set[str]) -> bool:
    """Whether it holds a layer's weights as integers; the rounding of what a layer reads is another layer's."""
    return node.op_type in PRODUCTS or (node.op_type == TO_FLOAT and node.input[0] in weights)


# ---- the graph of both --------------------------------------------------------------------------


def _side_by_side(exact: ModelProto, rounded: ModelProto, layers: Sequence[_Layer]) -> ModelProto:
    import onnx

    inputs, weights = {entry.name for entry in rounded.graph.input}, {w.name for w in rounded.graph.initializer}
    net = _graph.copied(rounded)
    for part in (net.graph.node, net.graph.output, net.graph.value_info):
        del part[:]
    for entry in net.graph.initializer:
        entry.name = _rounded(entry.name)
    net.graph.initializer.extend(exact.graph.initializer)
    net.graph.node.extend(exact.graph.node)
    net.graph.node.extend(
        _renamed(node, lambda name: name if name in inputs else _rounded(name)) for node in rounded.graph.node
    )
    for index, layer in enumerate(layers):
        if not layer.kept_float:
            net.graph.node.extend(_renamed(node, _names_alone(index, layer, weights)) for node in layer.nodes)
    net.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in _outputs(layers)
    )
    return net


def _outputs(layers: Sequence[_Layer]) -> list[str]:
    alone = [_alone(index, layer.given) for index, layer in enumerate(layers) if not layer.kept_float]
    both = (name for layer in layers for name in (layer.target, _rounded(layer.given)))
    return list(dict.fromkeys([*both, *alone]))


def _names_alone(index: int, layer: _Layer, weights: set[str]) -> Callable[[str], str]:
    """What a layer's own nodes read and give: the float net's source, the quantized net's weights."""

    def name_of(name: str) -> str:
        if name == layer.source:
            return name
        return _rounded(name) if name in weights else _alone(index, name)

    return name_of


def _rounded(name: str) -> str:
    return f"rounded/{name}"


def _alone(index: int, name: str) -> str:
    return f"alone/{index}/{name}"


def _renamed(node: NodeProto, name_of: Callable[[str], str]) -> NodeProto:
    """A copy without a name that reads and gives tensors of other names; a missing input stays so."""
    from onnx import NodeProto

    copy = NodeProto()
    copy.CopyFrom(node)
    copy.name = ""
    copy.input[:] = [name_of(name) if name else name for name in node.input]
    copy.output[:] = [name_of(name) if name else name for name in node.output]
    return copy
