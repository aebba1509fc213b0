from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from secateur.calibration import training_pictures
from secateur.ports import Tools
from secateur.quantizers.int8_static import Int8Static
from secateur.stages import locate
from secateur.store import artifact
from tests.conftest import IMGSZ, no_progress


@pytest.fixture(scope="module")
def quantized(seg_onnx: Path, shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("int8") / "int8.onnx"
    Int8Static(images=4).quantize(seg_onnx, training_pictures(shapes.parent, IMGSZ, 4, 0, no_progress), out)
    return out


def located(exact: Path, model: Path, shapes: Path, out: Path, seed: int = 0) -> locate.Outputs:
    without_nets: Any = {"detector": None, "pruner": None, "downloads": None}
    inputs = locate.Inputs(artifact(exact), artifact(model), artifact(shapes.parent), IMGSZ, images=2, seed=seed)
    return locate.run(inputs, Tools(**without_nets, progress=no_progress), out)


def test_each_layer_has_noise_which_the_seeds_pictures_decide(
    seg_onnx: Path, quantized: Path, shapes: Path, tmp_path: Path
) -> None:
    first, again, other = (located(seg_onnx, quantized, shapes, tmp_path, seed).layers for seed in (0, 0, 1))

    own = np.array([layer.own_sqnr_db for layer in first if not layer.kept_float], float)
    assert len(own) > 50
    assert np.isfinite(own).all()
    assert first == again != other
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_rounds_nothing_has_nothing_to_tell(seg_onnx: Path, shapes: Path, tmp_path: Path) -> None:
    assert located(seg_onnx, seg_onnx, shapes, tmp_path).layers == ()
