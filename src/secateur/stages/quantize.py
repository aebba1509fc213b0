"""Turns an exported FP32 file into the one that ships, calibrated on training pictures."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from secateur.calibration import few_pictures, training_pictures
from secateur.ports import GatedQuantizer, Judge, Quantizer, Tools
from secateur.results import Artifact
from secateur.runtimes.onnxruntime import Onnxruntime
from secateur.store import artifact

if TYPE_CHECKING:
    from secateur.ports import Image

VERSION = 2
LIBRARIES = ("onnx", "onnxruntime", "pillow")

JUDGED_IN = Onnxruntime(threads=0)
"""What runs the files that a quantizer has scored."""


@dataclass(frozen=True)
class Inputs:
    """`data` and `seed` are there only where the quantizer wants calibration pictures."""

    model: Artifact
    quantizer: Quantizer
    imgsz: int
    data: Artifact | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Outputs:
    """`model` is an ONNX file."""

    model: Artifact


def run(inputs: Inputs, tools: Tools, out: Path) -> Outputs:
    """Writes what the quantizer makes, which a gated one has scored on training pictures first; raises ExportError
    where it cannot take the file."""
    target, quantizer = out / "model.onnx", inputs.quantizer
    if isinstance(quantizer, GatedQuantizer):
        with _judge(quantizer.judged_images, inputs, tools) as judge:
            quantizer.quantize_within(inputs.model.path, _pictures(inputs, tools), judge, target, tools.progress)
    else:
        quantizer.quantize(inputs.model.path, _pictures(inputs, tools), target)
    return Outputs(artifact(target))


def _pictures(inputs: Inputs, tools: Tools) -> Iterable[Image]:
    if not inputs.data or inputs.seed is None:
        return ()
    return training_pictures(inputs.data.path, inputs.imgsz, inputs.quantizer.images, inputs.seed, tools.progress)


@contextmanager
def _judge(images: int, inputs: Inputs, tools: Tools) -> Iterator[Judge]:
    """The one evaluator, on so many training pictures: the validation pictures stay unseen."""
    assert inputs.data and inputs.seed is not None
    with tempfile.TemporaryDirectory(prefix="secateur-judge-") as scratch:
        data = few_pictures(inputs.data.path, images, inputs.seed, Path(scratch) / "data")
        quietly = partial(tools.detector.evaluate, data=data, imgsz=inputs.imgsz, progress=lambda *_: None)
        yield lambda model: quietly(JUDGED_IN.open(model)).accuracy
