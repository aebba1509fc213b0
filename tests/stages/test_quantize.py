from pathlib import Path
from typing import Any

import pytest

from secateur.ports import Tools
from secateur.quantizers.fp32 import Fp32
from secateur.stages import quantize
from secateur.store import artifact


@pytest.fixture
def tools() -> Tools:
    without_nets: Any = {"detector": None, "pruner": None, "downloads": None}
    return Tools(**without_nets, progress=lambda done, total: None)


def test_fp32_ships_the_exported_file_as_it_is(tools: Tools, tmp_path: Path) -> None:
    (tmp_path / "exported.onnx").write_bytes(b"a net")
    (tmp_path / "out").mkdir()
    exported = artifact(tmp_path / "exported.onnx")

    made = quantize.run(quantize.Inputs(exported, Fp32(), 64), tools, tmp_path / "out")
    assert made.model.path.parent == tmp_path / "out"
    assert made.model.sha256 == exported.sha256
