import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest

from secateur.errors import ExportError, SpecError
from secateur.quantizers._graph import float_nodes
from secateur.quantizers.nncf import Nncf
from secateur.runtimes.onnxruntime import Onnxruntime

FLOAT = onnx.TensorProto.FLOAT

with_nncf = pytest.mark.skipif(not find_spec("nncf"), reason="needs NNCF: pip install 'secateur[nncf]'")


@pytest.fixture(scope="session")
def nncf_onnx(yolo_onnx: Path, pictures: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("nncf") / "int8.onnx"
    Nncf(images=len(pictures)).quantize(yolo_onnx, iter(pictures), out)
    return out


def convolutions_in_float(graph: onnx.GraphProto) -> set[str]:
    """Those whose weights are not integers with a scale."""
    weights_in_float = {initializer.name for initializer in graph.initializer if initializer.data_type == FLOAT}
    convolutions = [node for node in graph.node if node.op_type in ("Conv", "ConvTranspose")]
    return {node.name for node in convolutions if node.input[1] in weights_in_float}


@with_nncf
def test_the_nncf_file_is_valid(nncf_onnx: Path) -> None:
    onnx.checker.check_model(nncf_onnx, full_check=True)


@with_nncf
def test_the_nncf_file_is_less_than_a_third_of_the_original(yolo_onnx: Path, nncf_onnx: Path) -> None:
    assert nncf_onnx.stat().st_size < yolo_onnx.stat().st_size / 3


@with_nncf
def test_nncf_puts_every_convolution_but_the_last_ones_on_integers(yolo_onnx: Path, nncf_onnx: Path) -> None:
    kept = float_nodes(onnx.load(yolo_onnx).graph)
    in_float = convolutions_in_float(onnx.load(nncf_onnx).graph)

    assert len(in_float) == 11  # box, class and mask coefficients on three scales; the prototypes; the DFL
    assert in_float < kept


@with_nncf
def test_the_nncf_net_answers_nearly_as_the_original(yolo_onnx: Path, nncf_onnx: Path, pictures: list) -> None:
    original, quantized = (Onnxruntime().open(path).run(pictures[0]) for path in (yolo_onnx, nncf_onnx))

    for exact, rounded in zip(original, quantized, strict=True):
        assert rounded.shape == exact.shape
        assert np.abs(rounded - exact).mean() < 0.05 * np.abs(exact).mean()


@with_nncf
@pytest.mark.parametrize(
    "fields", [{"preset": "performance"}, {"fast_bias_correction": False}], ids=lambda f: next(iter(f))
)
def test_every_setting_of_nncf_gives_another_file_that_runs(
    fields: dict, yolo_onnx: Path, nncf_onnx: Path, pictures: list, tmp_path: Path
) -> None:
    Nncf(images=len(pictures), **fields).quantize(yolo_onnx, iter(pictures), tmp_path / "int8.onnx")

    assert (tmp_path / "int8.onnx").read_bytes() != nncf_onnx.read_bytes()
    assert np.isfinite(Onnxruntime().open(tmp_path / "int8.onnx").run(pictures[0])[0]).all()


@with_nncf
def test_nncf_gives_the_same_bytes_again_and_says_and_leaves_nothing_else(
    yolo_onnx: Path, nncf_onnx: Path, pictures: list, tmp_path: Path
) -> None:
    np.save(tmp_path / "pictures.npy", pictures)
    code = f"""
import sys, numpy as np
from pathlib import Path
from secateur.quantizers.nncf import Nncf
pictures = np.load({str(tmp_path / "pictures.npy")!r})
Nncf(images=len(pictures)).quantize(Path({str(yolo_onnx)!r}), iter(pictures), Path("int8.onnx"))
assert not sys.modules["openvino_telemetry"]
"""
    for folder in ("home", "work"):
        (tmp_path / folder).mkdir()
    outside_ci = {name: value for name, value in os.environ.items() if name not in ("CI", "NNCF_CI")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "work",
        env={**outside_ci, "HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert (tmp_path / "work" / "int8.onnx").read_bytes() == nncf_onnx.read_bytes()
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["int8.onnx"]
    assert list((tmp_path / "home").iterdir()) == []


@with_nncf
def test_nncf_without_calibration_pictures_is_refused(yolo_onnx: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"cannot quantize .*no calibration pictures"):
        Nncf().quantize(yolo_onnx, iter(()), tmp_path / "int8.onnx")


@pytest.mark.parametrize("fields", [{"images": 0}, {"preset": "fast"}])
def test_settings_of_nncf_out_of_range_are_refused(fields: dict) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(fields))} must be .* got"):
        Nncf(**fields)


def test_nncf_that_is_not_installed_is_told_by_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)  # as Python notes that there is none

    with pytest.raises(SpecError, match=r"^quantization=nncf needs NNCF: pip install 'secateur\[nncf\]'$"):
        Nncf().check()
