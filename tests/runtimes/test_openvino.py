import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest

from secateur import plugins, processor
from secateur.errors import ExportError, SpecError
from secateur.quantizers.fp16 import Fp16
from secateur.quantizers.int8_dynamic import Int8Dynamic
from secateur.quantizers.int8_static import Int8Static
from secateur.runtimes.onnxruntime import Onnxruntime
from secateur.runtimes.openvino import Openvino
from tests.conftest import IMGSZ

with_openvino = pytest.mark.skipif(not find_spec("openvino"), reason="needs OpenVINO: pip install 'secateur[openvino]'")
with_bf16 = pytest.mark.skipif(
    not processor.BF16_PRODUCTS.intersection(processor.here()[1]), reason="needs a processor with bf16"
)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.random.default_rng(0).random((1, 3, IMGSZ, IMGSZ), np.float32)


def furthest(given: Iterable[np.ndarray], wanted: Iterable[np.ndarray]) -> float:
    """As share of an output's range."""
    return max(float(np.abs(g - w).max() / np.ptp(w)) for g, w in zip(given, wanted, strict=True))


@with_openvino
def test_an_fp16_file_gives_what_onnx_runtime_makes_of_it(seg_onnx: Path, picture: np.ndarray, tmp_path: Path) -> None:
    Fp16().quantize(seg_onnx, (), tmp_path / "fp16.onnx")

    given, wanted = (part.open(tmp_path / "fp16.onnx").run(picture) for part in (Openvino(), Onnxruntime()))

    assert all(output.dtype == np.float32 for output in given)
    assert furthest(given, wanted) < 0.01


@with_openvino
def test_an_int8_file_is_as_near_to_fp32_as_in_onnx_runtime(
    seg_onnx: Path, picture: np.ndarray, tmp_path: Path
) -> None:
    Int8Static(images=1).quantize(seg_onnx, [picture], tmp_path / "int8.onnx")

    exact = Onnxruntime().open(seg_onnx).run(picture)
    given, wanted = (part.open(tmp_path / "int8.onnx").run(picture) for part in (Openvino(), Onnxruntime()))

    assert furthest(given, exact) < 2 * furthest(wanted, exact)


@with_openvino
def test_a_dynamic_int8_file_gives_what_onnx_runtime_makes_of_it(
    seg_onnx: Path, picture: np.ndarray, tmp_path: Path
) -> None:
    Int8Dynamic().quantize(seg_onnx, (), tmp_path / "int8.onnx")

    given, wanted = (part.open(tmp_path / "int8.onnx").run(picture) for part in (Openvino(), Onnxruntime()))

    assert furthest(given, wanted) < 0.05


def test_files_that_openvino_runs_wrong_are_refused_and_those_of_all_others_run() -> None:
    assert [name for name in plugins.names("quantization") if Openvino().refusal(name, 1, False)] == ["nncf"]


@with_openvino
@with_bf16
def test_bf16_gives_nearly_what_f32_gives_and_not_the_same(seg_onnx: Path, picture: np.ndarray) -> None:
    exact, rounded = (Openvino(precision=precision).open(seg_onnx).run(picture) for precision in ("f32", "bf16"))

    assert 1e-4 < furthest(rounded, exact) < 0.05


@with_openvino
@pytest.mark.parametrize("flags", ["avx2", "avx512f avx512_vnni", "asimd i8mm", ""])
def test_bf16_is_refused_where_the_processor_has_none(
    flags: str, seg_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "cpuinfo", lambda: {"flags": flags})

    with pytest.raises(SpecError, match=r"^runtime.precision=bf16 needs a processor with one of amx_bf16, .*take f32$"):
        Openvino(precision="bf16").open(seg_onnx)
    assert Openvino().open(seg_onnx)


@with_openvino
def test_a_net_of_any_size_is_refused_by_the_shape_it_takes(seg_onnx: Path, tmp_path: Path) -> None:
    net = onnx.load(seg_onnx)
    net.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    onnx.save(net, tmp_path / "net.onnx")

    with pytest.raises(ExportError, match=rf"it takes \[1,3,\?,{IMGSZ}\], not pictures of one shape; export it anew$"):
        Openvino().open(tmp_path / "net.onnx")


@with_openvino
def test_an_operator_that_openvino_does_not_know_is_told_by_its_name(seg_onnx: Path, tmp_path: Path) -> None:
    net = onnx.load(seg_onnx)
    net.graph.node[5].op_type, net.graph.node[5].domain = "Foo", "com.acme"
    onnx.save(net, tmp_path / "net.onnx")

    with pytest.raises(ExportError, match=r"cannot open .*net.onnx: No conversion rule .*: com.acme.Foo$"):
        Openvino().open(tmp_path / "net.onnx")


@with_openvino
def test_a_file_that_says_nothing_of_itself_has_no_metadata(seg_onnx: Path, tmp_path: Path) -> None:
    net = onnx.load(seg_onnx)
    del net.metadata_props[:]
    onnx.save(net, tmp_path / "net.onnx")

    assert dict(Openvino().open(tmp_path / "net.onnx").metadata) == {}


def test_a_precision_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="precision must be f32 or bf16, got 'f16'"):
        Openvino(precision="f16")  # type: ignore[arg-type]


def test_openvino_that_is_not_installed_is_told_by_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)  # as Python notes that there is none

    with pytest.raises(SpecError, match=r"^runtime=openvino needs OpenVINO: pip install 'secateur\[openvino\]'$"):
        Openvino().check()
