"""What int8_static reads from the graph holds for every family, for detectors and for pruned nets."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

from secateur.adapters.yolo.door import Yolo
from secateur.quantizers.int8_static import Int8Static, float_nodes, integer_forms
from secateur.runtimes.onnxruntime import Onnxruntime
from tests.conftest import IMGSZ, random_checkpoint

NETS = ["yolov8n-seg", "yolo11n-seg", "yolo26n-seg", "yolov8n", "pruned"]


@pytest.fixture(scope="module", params=NETS)
def exported(
    request: pytest.FixtureRequest,
    yolo: Yolo,
    shapes: Path,
    pruned_checkpoint: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    weights = (
        pruned_checkpoint
        if request.param == "pruned"
        else random_checkpoint(f"{request.param}.yaml", folder / "net.pt", yolo, shapes)
    )
    yolo.export_onnx(weights, IMGSZ, folder / "net.onnx")
    return folder / "net.onnx"


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.random((1, 3, IMGSZ, IMGSZ), np.float32) for _ in range(4)]


def test_the_rewritten_net_gives_the_same_values(exported: Path, pictures: list, tmp_path: Path) -> None:
    onnx.save(integer_forms(exported), tmp_path / "forms.onnx")

    original, rewritten = (Onnxruntime().open(path).run(pictures[0]) for path in (exported, tmp_path / "forms.onnx"))

    for wanted, given in zip(original, rewritten, strict=True):
        np.testing.assert_allclose(given, wanted, rtol=1e-3, atol=1e-3)


def test_only_the_decode_stays_in_float(exported: Path, pictures: list, tmp_path: Path) -> None:
    Int8Static(images=4).quantize(exported, pictures, tmp_path / "int8.onnx")

    graph = onnx.load(tmp_path / "int8.onnx").graph
    makers = {output: node.op_type for node in graph.node for output in node.output}
    net = integer_forms(exported).graph
    kept = float_nodes(net)
    learned = [node for node in graph.node if node.op_type in ("Conv", "ConvTranspose", "Gemm")]
    sigmoids = [node for node in graph.node if node.op_type == "Sigmoid" and node.name not in kept]
    assert all(makers.get(node.input[1]) == "DequantizeLinear" for node in learned)
    assert len(sigmoids) > 40
    assert all(makers[node.input[0]] == "DequantizeLinear" for node in sigmoids)
    assert not {"Conv", "Resize", "MaxPool"} & set(Counter(n.op_type for n in net.node if n.name in kept))


def test_the_quantized_net_answers_nearly_as_the_original(exported: Path, pictures: list, tmp_path: Path) -> None:
    Int8Static(images=4).quantize(exported, pictures, tmp_path / "int8.onnx")

    original, quantized = (Onnxruntime().open(path).run(pictures[0]) for path in (exported, tmp_path / "int8.onnx"))

    for exact, rounded in zip(original, quantized, strict=True):
        assert rounded.shape == exact.shape
        assert np.abs(rounded - exact).mean() < 0.1 * np.abs(exact).mean()
