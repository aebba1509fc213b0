"""FP16 for weights and activations, by ONNX Runtime's converter: all of the net but the decode.

Half the size, and for GPUs and NPUs with FP16 arithmetic also faster. ONNX Runtime has next to no FP16 kernels for
CPUs: there it converts back and forth and is no faster, mostly slower, than FP32.

The decode stays in float: between 512 and 1024 an FP16 number moves by half a pixel, beyond by a whole one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from secateur.quantizers import _graph

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import GraphProto, NodeProto

    from secateur.ports import Image

VERSION = 1  # raise when the same fields give another file


@dataclass(frozen=True)
class Fp16:
    """Halves the file; takes no calibration pictures. Inputs and outputs stay FP32, as every runtime here has them."""

    name: ClassVar[str] = "fp16"
    images: ClassVar[int] = 0
    any_shape: ClassVar[bool] = True

    def quantize(self, model: Path, calibration: Iterable[Image], out: Path) -> None:
        """Writes `out`; raises ExportError where the model cannot be taken."""
        import onnx
        from onnxruntime.transformers.float16 import convert_float_to_float16
        from onnxruntime.transformers.onnx_model import OnnxModel

        net = _graph.read(model)
        halved = convert_float_to_float16(
            net, keep_io_types=True, node_block_list=sorted(_graph.decode_nodes(net.graph))
        )
        _drop_round_trips(halved.graph)
        OnnxModel.graph_topological_sort(halved.graph)  # the converter appends its casts at the end
        onnx.save(halved, out)


def _drop_round_trips(graph: GraphProto) -> None:
    """Takes out, in place, the casts to FP16 and back that the converter puts between two nodes that stay in float."""
    from onnx import TensorProto

    floats = {entry.name for entry in graph.value_info if entry.type.tensor_type.elem_type == TensorProto.FLOAT}
    there = {
        name: node.input[0]
        for name, node in _graph.producers_of(graph).items()
        if _casts_to(node, TensorProto.FLOAT16) and node.input[0] in floats
    }
    back = [node for node in graph.node if _casts_to(node, TensorProto.FLOAT) and node.input[0] in there]
    outputs = {output.name for output in graph.output}
    renamed: dict[str, str] = {}
    for node in back:
        exact, rounded = there[node.input[0]], node.output[0]
        renamed |= {exact: rounded} if rounded in outputs else {rounded: exact}
        graph.node.remove(node)
    _rename(graph, renamed)
    _drop_unread(graph, set(there))


def _casts_to(node: NodeProto, kind: int) -> bool:
    return node.op_type == "Cast" and any(entry.name == "to" and entry.i == kind for entry in node.attribute)


def _rename(graph: GraphProto, renamed: dict[str, str]) -> None:
    def final(name: str) -> str:
        return final(renamed[name]) if name in renamed else name

    for node in graph.node:
        node.input[:] = [final(name) for name in node.input]
        node.output[:] = [final(name) for name in node.output]


def _drop_unread(graph: GraphProto, tensors: set[str]) -> None:
    """Takes out the nodes that make such tensors where nobody reads them, and what is said of tensors that are gone."""
    read = {name for node in graph.node for name in node.input}
    for node in [node for node in graph.node if node.output and node.output[0] in tensors - read]:
        graph.node.remove(node)
    made = {name for node in graph.node for name in node.output}
    for entry in [entry for entry in graph.value_info if entry.name not in made]:
        graph.value_info.remove(entry)
