from pathlib import Path

import onnx
import pytest

from secateur.doctor.profile import profile
from secateur.errors import ExportError
from secateur.examination import Profile
from secateur.runtimes.onnxruntime import Onnxruntime
from tests.conftest import IMGSZ

SHAPE = (1, 3, IMGSZ, IMGSZ)


def profiled(model: Path, folder: Path) -> Profile:
    return profile(model, Onnxruntime(threads=1), SHAPE, seconds=0.2, warmup_seconds=0.1, optimized=folder / "run.onnx")


def test_every_node_of_the_graph_that_is_run_is_timed(int8_onnx: Path, tmp_path: Path) -> None:
    found = profiled(int8_onnx, tmp_path)

    run = onnx.load(tmp_path / "run.onnx").graph.node
    assert {(node.name, node.operator) for node in found.nodes} == {(node.name, node.op_type) for node in run}
    assert all(node.ms >= 0 for node in found.nodes)


def test_the_graph_is_that_after_fusion(int8_onnx: Path, tmp_path: Path) -> None:
    operators = {total.operator: total.count for total in profiled(int8_onnx, tmp_path).operators()}

    assert operators["QLinearConv"] == 66
    assert operators["QLinearSigmoid"] > 50


def test_the_nodes_take_no_longer_than_the_pass(seg_onnx: Path, tmp_path: Path) -> None:
    found = profiled(seg_onnx, tmp_path)

    # both are medians, of different things; on a busy machine a pass waits, between its nodes
    assert 0.02 * found.pass_ms < found.nodes_ms < 1.2 * found.pass_ms
    assert sum(total.share for total in found.operators()) == pytest.approx(1)
    assert found.passes >= 1


def test_nothing_is_left_behind_but_the_graph(seg_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    profiled(seg_onnx, tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["run.onnx"]


def test_a_file_that_does_not_run_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"not a model")

    with pytest.raises(ExportError, match=r"^ONNX Runtime cannot open .*broken\.onnx") as error:
        profiled(tmp_path / "broken.onnx", tmp_path)

    assert "\n" not in str(error.value)
