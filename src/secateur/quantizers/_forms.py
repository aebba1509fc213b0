"""The same net in the forms that ONNX Runtime's INT8 kernels take: every rewrite gives the same values.

Measured on YOLOv8n-seg at 640 px, as share of the INT8 file's time without it: the softmax of the DFL along an axis
that is not the last, 11 %; the transposed convolution, for which there is no INT8 kernel, 6 %; the last convolutions,
which would be left in float, with all that turns maps between layouts for them, 12 %.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.quantizers import _graph

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import GraphProto, ModelProto, NodeProto


def rewrite(net: ModelProto) -> ModelProto:
    """The net with all of them done; it must know the shapes of its tensors, and does so afterwards."""
    for rewritten in (_softmaxes, _transposed_convolutions, _last_convolutions):
        for old, new in list(rewritten(_View(net.graph))):
            _replace(net.graph, old, new)
        net = _graph.with_shapes(net)
    _drop_unread_weights(net.graph)
    return net


class _View:
    """A graph as one asks for it: who makes a tensor, who reads it, which shape it has, which values a weight."""

    def __init__(self, graph: GraphProto) -> None:
        from onnx import numpy_helper

        self.graph = graph
        self.makers = _graph.producers_of(graph)
        self.shapes = {
            entry.name: [side.dim_value for side in entry.type.tensor_type.shape.dim]
            for entry in (*graph.input, *graph.output, *graph.value_info)
        }
        self._weights = {weights.name: weights for weights in graph.initializer}
        self._to_array = numpy_helper.to_array

    def readers(self, tensor: str) -> list[NodeProto]:
        return [node for node in self.graph.node if tensor in node.input]

    def only_reader(self, tensor: str, kind: str) -> NodeProto | None:
        readers = self.readers(tensor)
        return readers[0] if len(readers) == 1 and readers[0].op_type == kind else None

    def values(self, name: str) -> NDArray[Any]:
        values: NDArray[Any] = self._to_array(self._weights[name])
        return values

    def add(self, name: str, values: NDArray[Any]) -> str:
        """A weight of that name."""
        from onnx import numpy_helper

        self.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def chain(self, source: str, target: str, *steps: tuple[str, str, list[str], dict[str, Any]]) -> list[NodeProto]:
        """One node after another from the tensor `source` to the tensor `target`: operator, what its name and its
        output end with, the weights that it reads, attributes."""
        from onnx import helper

        nodes, last = [], source
        for number, (kind, ending, weights, attributes) in enumerate(steps, start=1):
            output = target if number == len(steps) else f"{target}/{ending}"
            nodes.append(helper.make_node(kind, [last, *weights], [output], f"{target}/{ending}", **attributes))
            last = output
        return nodes

    def shape(self, name: str, sides: Sequence[int]) -> list[str]:
        return [self.add(name, np.array(sides, np.int64))]


Rewritten = Iterator[tuple[list["NodeProto"], list["NodeProto"]]]
"""Nodes to take out, and those that take their place."""


def _softmaxes(view: _View) -> Rewritten:
    """The DFL: softmax along the last axis, each box' bins side by side; the convolution, a matrix product."""
    for softmax in [node for node in view.graph.node if node.op_type == "Softmax"]:
        turned = view.makers.get(softmax.input[0])
        split = view.makers.get(turned.input[0]) if turned and turned.op_type == "Transpose" else None
        mean = view.only_reader(softmax.output[0], "Conv")
        joined = view.only_reader(mean.output[0], "Reshape") if mean else None
        if not (turned and split and split.op_type == "Reshape" and mean and joined):
            continue
        batch, bins, sides, anchors = view.shapes[softmax.output[0]]
        if attributes(softmax).get("axis") != 1 or view.shapes[split.output[0]] != [batch, sides, bins, anchors]:
            continue
        name = joined.output[0]
        yield (
            [split, turned, softmax, mean, joined],
            view.chain(
                split.input[0], name,
                ("Transpose", "rows", [], {"perm": [0, 2, 1]}),
                ("Reshape", "bins", view.shape(f"{name}/bins_shape", [batch, anchors, sides, bins]), {}),
                ("Softmax", "softmax", [], {"axis": -1}),
                ("MatMul", "mean", [view.add(f"{name}/weights", view.values(mean.input[1]).reshape(bins, 1))], {}),
                ("Reshape", "sides", view.shape(f"{name}/sides_shape", [batch, anchors, sides]), {}),
                ("Transpose", "columns", [], {"perm": [0, 2, 1]}),
            ),
        )  # fmt: skip


def _transposed_convolutions(view: _View) -> Rewritten:
    """One whose windows do not overlap: a 1x1 convolution to so many channels more, each a pixel of the window."""
    for node in [node for node in view.graph.node if node.op_type == "ConvTranspose"]:
        given = attributes(node)
        stride = given.get("strides", [1, 1])
        weights = view.values(node.input[1])  # (inputs, outputs, rows, columns)
        if list(weights.shape[2:]) != stride or not _is_plain(given):
            continue
        name, (rows, columns) = node.output[0], stride
        inputs, outputs = weights.shape[:2]
        batch, _, height, width = view.shapes[node.input[0]]
        pointwise = [view.add(f"{name}/weights", weights.transpose(2, 3, 1, 0).reshape(-1, inputs, 1, 1))]
        if len(node.input) > 2:
            pointwise.append(view.add(f"{name}/bias", np.tile(view.values(node.input[2]), rows * columns)))
        split = view.shape(f"{name}/split_shape", [batch, height, width, rows, columns * outputs])
        joined = view.shape(f"{name}/joined_shape", [batch, height * rows, width * columns, outputs])
        yield (
            [node],
            view.chain(
                node.input[0], name,
                ("Conv", "conv", pointwise, {"kernel_shape": [1, 1]}),
                ("Transpose", "channels_last", [], {"perm": [0, 2, 3, 1]}),
                ("Reshape", "split", split, {}),
                ("Transpose", "shuffle", [], {"perm": [0, 1, 3, 2, 4]}),
                ("Reshape", "joined", joined, {}),
                ("Transpose", "channels_first", [], {"perm": [0, 3, 1, 2]}),
            ),
        )  # fmt: skip


def _last_convolutions(view: _View) -> Rewritten:
    """Those of 1x1: a matrix product, for which there is an INT8 kernel that gives float."""
    last = _graph.float_nodes(view.graph)
    for node in [node for node in view.graph.node if node.name in last and node.op_type == "Conv"]:
        given = attributes(node)
        weights = view.values(node.input[1])
        if weights.shape[2:] != (1, 1) or given.get("strides", [1, 1]) != [1, 1] or not _is_plain(given):
            continue
        outputs, inputs = weights.shape[:2]
        name, (batch, _, height, width) = node.output[0], view.shapes[node.output[0]]
        product = [view.add(f"{name}/weights", weights.reshape(outputs, inputs)), *node.input[2:]]
        flat = view.only_reader(name, "Reshape")
        if flat and view.shapes[flat.output[0]] == [batch, outputs, height * width]:
            old, target, shape, back = [node, flat], flat.output[0], [batch, height * width, outputs], [0, 2, 1]
        else:
            old, target, shape, back = [node], name, [batch, height, width, outputs], [0, 3, 1, 2]
        yield (
            old,
            view.chain(
                node.input[0], target,
                ("Transpose", "channels_last", [], {"perm": [0, 2, 3, 1]}),
                ("Reshape", "rows", view.shape(f"{target}/rows_shape", [batch * height * width, inputs]), {}),
                ("Gemm", "product", product, {"transB": 1}),
                ("Reshape", "map", view.shape(f"{target}/map_shape", shape), {}),
                ("Transpose", "channels_first", [], {"perm": back}),
            ),
        )  # fmt: skip


def _is_plain(given: dict[str, Any]) -> bool:
    """Whether a convolution takes all channels together, pads nothing and leaves nothing out."""
    padded = [*given.get("pads", []), *given.get("output_padding", [])]
    unpadded = not any(padded) and given.get("auto_pad", b"NOTSET") in (b"NOTSET", b"VALID")
    return unpadded and given.get("group", 1) == 1 and set(given.get("dilations", [1])) == {1}


def attributes(node: NodeProto) -> dict[str, Any]:
    from onnx import helper

    return {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}


def _replace(graph: GraphProto, old: Sequence[NodeProto], new: Sequence[NodeProto]) -> None:
    """`new` stands where the last of `old` stood, since all that it reads is there by then."""
    place = max(index for index, node in enumerate(graph.node) if node in old)
    for offset, node in enumerate(new, start=1):
        graph.node.insert(place + offset, node)
    for node in old:
        graph.node.remove(node)


def _drop_unread_weights(graph: GraphProto) -> None:
    read = {name for node in graph.node for name in node.input}
    for weights in [weights for weights in graph.initializer if weights.name not in read]:
        graph.initializer.remove(weights)
