"""What the quantizers read from an exported graph: whether they can take it, and what of it is to stay in float."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from secateur.errors import ExportError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto

LEARNED = frozenset({"Conv", "ConvTranspose", "Gemm"})
RESHAPING = frozenset({"Reshape", "Transpose"})
OPSET = 13
INTEGER = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"})


def read(model: Path) -> ModelProto:
    """An FP32 net, each node with a name of its own; raises ExportError for others."""
    import onnx

    try:
        net = onnx.load(model)
        onnx.checker.check_model(net)
    except Exception as error:  # ONNX raises what it likes
        raise ExportError(f"cannot read {model}: {_first_line(error)}") from error
    if why := _obstacle(net):
        raise ExportError(f"cannot quantize {model}: {why}; export it anew, in FP32")
    _name_nodes(net.graph)
    return net


def require_one_shape(net: ModelProto, model: Path) -> None:
    """Raises ExportError, which names `model`, where the net leaves a side of its input open."""
    for entry in _inputs(net.graph):
        if any(side.dim_value < 1 for side in entry.type.tensor_type.shape.dim):
            raise ExportError(
                f"cannot quantize {model}: the shape of its input {entry.name!r} is dynamic; export it anew, with one "
                "shape"
            )


def batch_of(net: ModelProto) -> int:
    """How many pictures a net of one shape takes at once."""
    return int(_inputs(net.graph)[0].type.tensor_type.shape.dim[0].dim_value)


def prepare(model: Path) -> ModelProto:
    """Fused as far as can be, with all shapes inferred; raises ExportError as `read` does."""
    import onnx
    from onnxruntime.quantization import quant_pre_process

    read(model)
    with TemporaryDirectory(prefix="secateur-prepare-") as folder:
        prepared = Path(folder) / "net.onnx"
        try:
            quant_pre_process(model, prepared, skip_symbolic_shape=True)  # ONNX's inference will do
        except Exception as error:  # ONNX and its runtime raise what they like
            raise ExportError(f"cannot read {model}: {_first_line(error)}") from error
        net = onnx.load(prepared)
    _name_nodes(net.graph)
    return net


def _name_nodes(graph: GraphProto) -> None:
    """Gives each node that has none a name, in place."""
    for index, node in enumerate(graph.node):
        node.name = node.name or f"{node.op_type}_{index}"


def copied(net: ModelProto) -> ModelProto:
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(net)
    return copy


def with_shapes(net: ModelProto) -> ModelProto:
    """The net with the shapes of all its tensors inferred anew."""
    import onnx

    bare = copied(net)
    del bare.graph.value_info[:]
    return onnx.shape_inference.infer_shapes(bare, strict_mode=True)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def decode_nodes(graph: GraphProto) -> set[str]:
    """Names of the nodes behind the last convolutions, to the outputs."""
    producers = producers_of(graph)
    return {node.name for node in _last(graph) if not is_learned(node, producers)}


def float_nodes(graph: GraphProto) -> set[str]:
    """Names of the nodes from the last convolutions, themselves included, to the outputs."""
    return {node.name for node in _last(graph)}


def _last(graph: GraphProto) -> list[NodeProto]:
    producers = producers_of(graph)
    found: dict[str, NodeProto] = {}
    waiting = [output.name for output in graph.output]
    while waiting:
        node = producers.get(waiting.pop())
        if node is None or node.name in found:
            continue
        found[node.name] = node
        if not is_learned(node, producers):
            waiting += node.input
    return list(found.values())


def producers_of(graph: GraphProto) -> dict[str, NodeProto]:
    """The node that makes each tensor."""
    return {output: node for node in graph.node for output in node.output}


def is_learned(node: NodeProto, producers: dict[str, NodeProto]) -> bool:
    return node.op_type in LEARNED and not _is_dfl(node, producers)


def _is_dfl(convolution: NodeProto, producers: dict[str, NodeProto]) -> bool:
    """Whether it takes the mean of a distribution: a convolution right behind a softmax, part of the decode."""
    source = producers.get(convolution.input[0])
    while source is not None and source.op_type in RESHAPING:
        source = producers.get(source.input[0])
    return source is not None and source.op_type == "Softmax"


def _obstacle(net: ModelProto) -> str | None:
    """Why the quantizers cannot take it, None where they can."""
    from onnx import TensorProto

    graph, opset = net.graph, next((entry.version for entry in net.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if opset < OPSET:
        return f"its opset is {opset}, and weights quantized by channel need {OPSET}"

    if any(node.op_type in INTEGER for node in graph.node):
        return "it is quantized already"
    if any(weights.data_type in (TensorProto.FLOAT16, TensorProto.BFLOAT16) for weights in graph.initializer):
        return "its weights have 16 bits already"
    return None


def _inputs(graph: GraphProto) -> list[ValueInfoProto]:
    """Those that are no weights."""
    constants = {weights.name for weights in graph.initializer}
    return [entry for entry in graph.input if entry.name not in constants]
