from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from secateur.adapters.yolo.door import Yolo
from secateur.edge.fingerprint import fingerprint
from secateur.ports import Tools
from secateur.quantizers._graph import LEARNED
from secateur.runtimes.onnxruntime import Onnxruntime
from secateur.specs import Timer
from secateur.stages import verify
from secateur.store import artifact
from tests.conftest import IMGSZ, no_progress


@pytest.fixture
def tools() -> Tools:
    without_nets: Any = {"detector": None, "pruner": None, "downloads": None}
    return Tools(**without_nets, progress=no_progress)


def verified(model: Path, shapes: Path, tools: Tools, out: Path) -> verify.Outputs:
    runtime = Onnxruntime(threads=1)
    timer = Timer(runtime, runtime.version(), fingerprint())
    inputs = verify.Inputs(artifact(model), timer, artifact(shapes.parent), IMGSZ, images=4, seed=0)
    return verify.run(inputs, tools, out)


def with_weights(model: Path, factor: float, out: Path) -> Path:
    """The file, the weights of its first convolution times `factor`."""
    net = onnx.load(model)
    first = next(node for node in net.graph.node if node.op_type in LEARNED).input[1]
    weights = next(entry for entry in net.graph.initializer if entry.name == first)
    values = numpy_helper.to_array(weights) * np.float32(factor)
    weights.CopyFrom(numpy_helper.from_array(values, first))
    onnx.save(net, out)
    return out


def test_a_file_that_gives_something_has_no_fault(seg_onnx: Path, shapes: Path, tools: Tools, tmp_path: Path) -> None:
    found = verified(seg_onnx, shapes, tools, tmp_path)

    assert found.fault is None
    assert [output.name for output in found.outputs] == ["output0", "output1"]


def test_a_file_that_takes_several_pictures_is_looked_at_picture_by_picture(
    yolo: Yolo, seg_checkpoint: Path, seg_onnx: Path, shapes: Path, tools: Tools, tmp_path: Path
) -> None:
    yolo.export_onnx(seg_checkpoint, IMGSZ, tmp_path / "three.onnx", batch=3)

    found, single = (verified(model, shapes, tools, tmp_path) for model in (tmp_path / "three.onnx", seg_onnx))

    assert found.fault is None
    for given, wanted in zip(found.outputs, single.outputs, strict=True):
        assert given.shape == wanted.shape
        assert (given.low, given.high) == pytest.approx((wanted.low, wanted.high), abs=1e-4)


def test_a_file_that_gives_nan_has_a_fault(seg_onnx: Path, shapes: Path, tools: Tools, tmp_path: Path) -> None:
    broken = with_weights(seg_onnx, float("nan"), tmp_path / "nan.onnx")

    found = verified(broken, shapes, tools, tmp_path)

    assert found.fault is not None
    assert found.fault.startswith("output0 is not finite (NaN or infinite) in ")


def test_a_file_that_gives_the_same_for_every_picture_has_a_fault(
    seg_onnx: Path, shapes: Path, tools: Tools, tmp_path: Path
) -> None:
    blind = with_weights(seg_onnx, 0.0, tmp_path / "blind.onnx")

    assert verified(blind, shapes, tools, tmp_path).fault == "output0 is constant: the same on all of 4 pictures"
