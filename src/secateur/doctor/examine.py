"""Examines one model file: profiled, its graph read, run on pictures."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from secateur.doctor import file as whole
from secateur.doctor import islands, outputs, processor, ranges
from secateur.doctor.graph import Graph, describe, picture_shape, read
from secateur.doctor.profile import profile
from secateur.edge.fingerprint import fingerprint
from secateur.edge.letterbox import letterbox, read_picture
from secateur.errors import ExportError, SpecError
from secateur.examination import Examination, ModelFile, Profile

if TYPE_CHECKING:
    from secateur.ports import Image
    from secateur.runtimes.onnxruntime import Onnxruntime

PICTURES = 8  # of the validation ones, spread over all
DRAWN = 2
SHAPES = 24  # rectangles in a drawn picture
WORDS = 200  # characters of a runtime's message that are told, at most


def examine(model: Path, runtime: Onnxruntime, data: Path | None, seconds: float) -> Examination:
    """Raises ExportError where the file cannot be opened or run, SpecError where the data yaml says nothing
    or the file takes other pictures than square ones."""
    net = read(model)
    file, graph = describe(model, net), Graph(net.graph)
    shape = picture_shape(file, net)
    pictures = list(_drawn(shape) if data is None else _validation_pictures(data, shape, model))
    profiled, run = _profiled(file, runtime, shape, seconds)
    checked = outputs.look(runtime.open(model), file.classes, pictures)
    conversions = islands.conversions(run, profiled)
    found = ranges.examine(graph, net, runtime, None if data is None else pictures)
    flags = fingerprint().flags
    findings = [
        *outputs.findings(checked, drawn=data is None),
        *ranges.findings(found),
        *islands.findings(conversions, run),
        *processor.findings(graph, flags, platform.machine(), file.is_quantized),
        *whole.findings(file),
    ]
    return Examination(file, data, len(pictures), flags, profiled, conversions, found, checked, tuple(findings))


def _profiled(file: ModelFile, runtime: Onnxruntime, shape: tuple[int, ...], seconds: float) -> tuple[Profile, Graph]:
    """Each node's time, and the graph of these nodes."""
    with TemporaryDirectory(prefix="secateur-") as folder:
        optimized = Path(folder) / "optimized.onnx"
        try:
            found = profile(file.path, runtime, shape, seconds, seconds / 2, optimized)
        except ExportError as error:
            why = str(error)[-WORDS:].partition(" ")[2]  # it ends with what it is about
            raise ExportError(
                f"{runtime.name} cannot run {file.path}, which says opset {file.opset}; export it anew (… {why})"
            ) from error
        return found, Graph(read(optimized).graph)


def _validation_pictures(data: Path, shape: tuple[int, ...], model: Path) -> Iterator[Image]:
    from secateur.datasets._yolo import read as read_data

    imgsz = shape[-1]
    if shape[1:] != (3, imgsz, imgsz):
        raise SpecError(f"{model} takes {list(shape)}, where --data looks at square pictures: leave it out")
    every = read_data(data).pictures["val"]
    chosen = np.linspace(0, len(every) - 1, min(PICTURES, len(every))).astype(int)
    return (letterbox(read_picture(every[at]), imgsz) for at in chosen)


def _drawn(shape: tuple[int, ...]) -> Iterator[Image]:
    """Rectangles of one colour each on noise."""
    rng = np.random.default_rng(0)
    _, channels, height, width = shape
    for _ in range(DRAWN):
        picture = rng.random((1, *shape[1:]), np.float32) / np.float32(4)
        for _ in range(SHAPES):
            top, left = int(rng.integers(height)), int(rng.integers(width))
            tall, wide = int(rng.integers(8, max(height // 2, 9))), int(rng.integers(8, max(width // 2, 9)))
            picture[0, :, top : top + tall, left : left + wide] = rng.random((channels, 1, 1), np.float32)
        yield picture
