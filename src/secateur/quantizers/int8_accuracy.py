"""INT8 with an accuracy gate: as `int8_static`, but for the blocks that have to stay in float to keep the accuracy.

A block is a convolution with what follows it up to the next ones. Each alone is quantized, and ranked by how far the
net's outputs then are from the float net's; the most harmful are returned to float, as few as bring the drop of box
*and* mask mAP under `max_drop` on training pictures. A file whose boxes are right and whose masks are not would pass a
gate on boxes alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from secateur import intake
from secateur.quantizers import _graph, int8_static
from secateur.quantizers.int8_static import Int8Static, float_nodes, integer_forms
from secateur.runtimes.onnxruntime import Onnxruntime

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import GraphProto, ModelProto

    from secateur.ports import Image, Judge, Progress
    from secateur.quantizers._ranges import Ranges
    from secateur.results import Accuracy

VERSION = f"{int8_static.VERSION}.2"  # raise the latter number when the same fields give another file
LOOKED_AT = 8  # pictures on which blocks are ranked
NOTE = "kept_in_float"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Int8Accuracy(Int8Static):
    """Settings as of `int8_static`; what it may lose, absolute points of either mAP50-95, on so many pictures.

    `quantize`, which has no judge, gives `int8_static`'s file.
    """

    name: ClassVar[str] = "int8_accuracy"
    libraries: ClassVar[tuple[str, ...]] = ("torch", "ultralytics")  # the judge's
    max_drop: float = 0.005
    judged_images: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.max_drop < 1:
            raise ValueError(f"max_drop must be in (0, 1), got {self.max_drop}")
        if self.judged_images < 1:
            raise ValueError(f"judged_images must be 1 or more, got {self.judged_images}")

    def quantize_within(
        self, model: Path, calibration: Iterable[Image], judge: Judge, out: Path, progress: Progress
    ) -> None:
        """Writes `out`, the names of the convolutions that were kept in float among its metadata; raises ExportError
        as `int8_static` does."""
        import onnx

        net = integer_forms(model)
        always = float_nodes(net.graph)
        few, pictures = _with_first(calibration, LOOKED_AT)
        ranges = self.ranges(model, net, always, pictures)
        wanted = judge(model)
        if not wanted.main:
            log.warning(
                "int8_accuracy: in FP32 the net finds nothing on %d training pictures, so no drop is seen and INT8 "
                "passes; take more (quantization.judged_images), with labels", wanted.images,
            )  # fmt: skip

        def quantized(kept: Sequence[str]) -> ModelProto:
            names = {node for block in kept for node in blocks[block]}
            return self.with_integers(net, ranges, always | names)

        def passes(kept: Sequence[str]) -> bool:
            onnx.save(quantized(kept), out)
            return _drop(wanted, judge(out)) <= self.max_drop

        blocks = blocks_of(net.graph, always)
        kept: Sequence[str] = ()
        if not passes(kept):
            ranked = self._ranked(net, ranges, always, blocks, few, progress)
            kept = ranked[: _fewest(len(ranked), lambda count: passes(ranked[:count]))]
        log.info("%d of %d blocks are kept in float: %s", len(kept), len(blocks), ", ".join(kept) or "none")
        final = quantized(kept)
        final.metadata_props.add(key=NOTE, value=" ".join(kept))
        onnx.save(final, out)

    def _ranked(
        self, net: ModelProto, ranges: Ranges, always: set[str], blocks: dict[str, set[str]],
        pictures: Sequence[Image], progress: Progress,
    ) -> list[str]:  # fmt: skip
        """The blocks, the one first that alone moves the outputs most."""
        everything = {node.name for node in net.graph.node}
        errors = {}
        with _answers(pictures) as answers:
            exact = answers(net)
            for done, (block, nodes) in enumerate(blocks.items(), start=1):
                alone = self.with_integers(net, ranges, always | (everything - nodes))
                errors[block] = _error(exact, answers(alone))
                progress(done, len(blocks))
        return sorted(blocks, key=lambda block: -errors[block])


def blocks_of(graph: GraphProto, always: set[str]) -> dict[str, set[str]]:
    """Names of the nodes of each block, by the name of its convolution; without those that stay in float always."""
    makers = _graph.producers_of(graph)
    block_of: dict[str, str] = {}
    for node in graph.node:  # sorted: what makes a tensor comes before what reads it
        sources = [
            block_of[makers[name].name] for name in node.input if name in makers and makers[name].name in block_of
        ]
        if node.op_type in _graph.LEARNED or not sources:
            block_of[node.name] = node.name
        else:
            block_of[node.name] = sources[0]
    blocks: dict[str, set[str]] = {}
    for name, block in block_of.items():
        if name not in always:
            blocks.setdefault(block, set()).add(name)
    return blocks


def _fewest(most: int, passes: Callable[[int], bool]) -> int:
    """The smallest count from 1 to `most` that passes, where more of them never do worse; `most` is known to pass."""
    low, high = 1, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if passes(middle) else (middle + 1, high)
    return low


def _drop(wanted: Accuracy, found: Accuracy) -> float:
    """The larger one of what box and mask mAP lose."""
    box = wanted.box_map50_95 - found.box_map50_95
    if wanted.mask_map50_95 is None or found.mask_map50_95 is None:
        return box
    return max(box, wanted.mask_map50_95 - found.mask_map50_95)


def _error(exact: Sequence[NDArray[Any]], found: Sequence[NDArray[Any]]) -> float:
    """Mean square of the difference over the variance, each channel of each output by itself, as they hold pixels and
    probabilities side by side."""
    shares = []
    for wanted, given in zip(exact, found, strict=True):
        axes = tuple(axis for axis in range(wanted.ndim) if axis != 1)
        shares.append(((wanted - given) ** 2).mean(axes) / np.maximum(wanted.var(axes), 1e-12))
    return float(np.concatenate(shares).mean())


@contextmanager
def _answers(pictures: Sequence[Image]) -> Iterator[Callable[[ModelProto], list[NDArray[Any]]]]:
    """What a net gives for these pictures, all together."""
    import onnx

    with TemporaryDirectory(prefix="secateur-blocks-") as folder:
        file = Path(folder) / "net.onnx"

        def answers(net: ModelProto) -> list[NDArray[Any]]:
            onnx.save(net, file)
            session = Onnxruntime(threads=0).open(file)
            return [np.concatenate(outputs) for outputs in zip(*intake.answers(session, pictures), strict=True)]

        yield answers


def _with_first(pictures: Iterable[Image], count: int) -> tuple[list[Image], Iterator[Image]]:
    """The first ones, and an iterator over all."""
    source = iter(pictures)
    first = list(islice(source, count))
    return first, chain(first, source)
