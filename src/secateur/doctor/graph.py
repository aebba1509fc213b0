"""Reads an ONNX file: what it says of itself, who makes and who reads a tensor, what 8 bits can tell of it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from secateur.errors import ExportError
from secateur.examination import ModelFile
from secateur.intake import literal, shape_of
from secateur.quantizers._graph import INTEGER

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from onnx import GraphProto, ModelProto, NodeProto

TO_INT, TO_FLOAT = "QuantizeLinear", "DequantizeLinear"
RESHAPING = frozenset({"Reshape", "Transpose", "Split", "Slice", "Squeeze", "Unsqueeze", "Flatten", "Identity"})
SIDES = 4  # of what YOLO files take: pictures, channels, height, width


@dataclass(frozen=True)
class Graph:
    """A graph with its tensors looked up by name."""

    graph: GraphProto

    @cached_property
    def producers(self) -> dict[str, NodeProto]:
        """The node that gives each tensor that one gives, Constants among them, by the tensor's name."""
        return {output: node for node in self.graph.node for output in node.output}

    @cached_property
    def consumers(self) -> dict[str, list[NodeProto]]:
        """The nodes that read each tensor, by its name; [] where none does, twice a node that reads it twice."""
        found: dict[str, list[NodeProto]] = defaultdict(list)
        for node in self.graph.node:
            for name in node.input:
                found[name].append(node)
        return found

    @cached_property
    def constants(self) -> dict[str, Any]:
        """The tensors that lie in the file, as they lie there."""
        own = {node.output[0]: node.attribute[0].t for node in self.graph.node if node.op_type == "Constant"}
        return {tensor.name: tensor for tensor in self.graph.initializer} | own

    def values(self, name: str) -> NDArray[Any] | None:
        """Of a tensor in the file; None for one that is computed."""
        from onnx import numpy_helper

        tensor = self.constants.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def is_weight(self, node: NodeProto) -> bool:
        """Whether it converts what lies in the file: no tensor that depends on the picture."""
        return node.input[0] in self.constants

    def step(self, node: NodeProto) -> float | None:
        """The one scale of a QuantizeLinear or DequantizeLinear; None where it has several, or they are computed."""
        scale = self.values(node.input[1])
        return None if scale is None or scale.size != 1 else float(scale.reshape(()))

    def ends(self, node: NodeProto) -> tuple[float, float] | None:
        """The smallest and the largest value that the 8 bits of a QuantizeLinear with one scale can tell."""
        import numpy as np

        step = self.step(node)
        zero = self.values(node.input[2]) if len(node.input) > 2 else np.zeros((), np.uint8)
        if step is None or zero is None or zero.dtype.kind not in "iu":
            return None
        bits = np.iinfo(zero.dtype)
        origin = int(zero.reshape(-1)[0])
        return step * (bits.min - origin), step * (bits.max - origin)


def read(model: Path) -> ModelProto:
    """Raises ExportError, in one line, where the file is missing, cut short or none of ONNX."""
    try:
        import onnx
    except ImportError as error:
        raise ExportError("reading a graph takes the onnx library: pip install 'secateur[lab]'") from error
    if not model.is_file():
        raise ExportError(f"no model file {model}")
    size = model.stat().st_size
    try:
        net = onnx.load(model)
    except Exception as error:  # protobuf and ONNX raise what they like
        raise ExportError(
            f"cannot read {model}: its {size} bytes are no whole ONNX file, so it was cut short or is of another "
            "format; copy or export it anew"
        ) from error
    if not net.graph.node or not net.graph.input:
        raise ExportError(f"cannot read {model}: there is no net in its {size} bytes; copy or export it anew")
    return net


def describe(model: Path, net: ModelProto) -> ModelFile:
    """What it says of itself; what it does not say is None, of a text empty, of an opset 0."""
    said = _metadata(net)
    names, imgsz = literal(said.get("names")), literal(said.get("imgsz"))
    sizes = imgsz if isinstance(imgsz, list | tuple) else [imgsz]
    return ModelFile(
        path=model,
        size_bytes=model.stat().st_size,
        opset=next((entry.version for entry in net.opset_import if entry.domain in ("", "ai.onnx")), 0),
        producer=f"{net.producer_name} {net.producer_version}".strip(),
        input_shape=_input_shape(net.graph),
        task=said.get("task"),
        classes=len(names) if names and isinstance(names, dict | list | tuple) else None,
        imgsz=sizes[0] if sizes and isinstance(sizes[0], int) else None,
        quantize_nodes=sum(node.op_type in INTEGER for node in net.graph.node),
    )


def picture_shape(file: ModelFile, net: ModelProto) -> tuple[int, ...]:
    """The shape of the pictures that it takes at once; open sides as the file's metadata says, or as usual."""
    if len(file.input_shape) != SIDES:
        raise ExportError(f"{file.path} takes {list(file.input_shape)}, no picture; secateur examines YOLO files")
    return shape_of(file.input_shape, _metadata(net))


def _input_shape(graph: GraphProto) -> tuple[int | str, ...]:
    constants = {tensor.name for tensor in graph.initializer}
    entry = next(entry for entry in graph.input if entry.name not in constants)
    return tuple(side.dim_value or side.dim_param or "?" for side in entry.type.tensor_type.shape.dim)


def _metadata(net: ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in net.metadata_props}
