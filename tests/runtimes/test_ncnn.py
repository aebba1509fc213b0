import json
import shutil
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest

from secateur import processor
from secateur.adapters.yolo.door import Yolo
from secateur.errors import ExportError, SpecError
from secateur.quantizers.fp16 import Fp16
from secateur.runtimes import ncnn
from secateur.runtimes.ncnn import Ncnn
from secateur.runtimes.onnxruntime import Onnxruntime
from tests.conftest import IMGSZ, random_checkpoint

EXTRAS = "needs ncnn and pnnx: pip install 'secateur[ncnn,pnnx]'"
with_ncnn = pytest.mark.skipif(not (find_spec("ncnn") and find_spec("pnnx")), reason=EXTRAS)
with_bf16 = pytest.mark.skipif(
    not processor.BF16_PRODUCTS.intersection(processor.here()[1]), reason="needs a processor with bf16"
)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.random.default_rng(0).random((1, 3, IMGSZ, IMGSZ), np.float32)


@pytest.fixture(scope="module")
def converted(seg_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ncnn") / "model"
    Ncnn(threads=1).convert(seg_onnx, out)
    return out


@pytest.fixture
def copy(converted: Path, tmp_path: Path) -> Path:
    """To be spoilt."""
    return Path(shutil.copytree(converted, tmp_path / "model"))


@with_ncnn
@pytest.mark.parametrize("architecture", ["yolo11n-seg", "yolo26n-seg", "pruned"])
def test_every_family_converts_and_a_pruned_net_too(
    architecture: str, yolo: Yolo, shapes: Path, pruned_checkpoint: Path, picture: np.ndarray, tmp_path: Path
) -> None:
    weights, model = pruned_checkpoint, tmp_path / "model.onnx"
    if architecture != "pruned":
        weights = random_checkpoint(f"{architecture}.yaml", tmp_path / "net.pt", yolo, shapes)
    yolo.export_onnx(weights, IMGSZ, model)

    Ncnn(threads=1).convert(model, tmp_path / "converted")

    given, wanted = Ncnn(threads=1).open(tmp_path / "converted").run(picture), Onnxruntime().open(model).run(picture)
    for output, exact in zip(given, wanted, strict=True):
        assert output.shape == exact.shape
        assert np.abs(output - exact).max() < 1e-5 * np.ptp(exact)


@with_ncnn
def test_the_folder_holds_the_net_and_what_is_said_of_it_and_nothing_else_is_written(
    seg_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for folder in ("source", "scratch", "work"):
        (tmp_path / folder).mkdir()
    shutil.copy(seg_onnx, tmp_path / "source" / "net.onnx")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))

    Ncnn(threads=1).convert(tmp_path / "source" / "net.onnx", tmp_path / "out")

    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert files == ["out/metadata.json", "out/model.ncnn.bin", "out/model.ncnn.param", "source/net.onnx"]
    assert capfd.readouterr() == ("", "")


@with_ncnn
@with_bf16
def test_bf16_gives_nearly_what_f32_gives_and_not_the_same(converted: Path, picture: np.ndarray) -> None:
    exact, rounded = (
        Ncnn(threads=1, precision=precision).open(converted).run(picture) for precision in ("f32", "bf16")
    )

    furthest = max(float(np.abs(r - e).max() / np.ptp(e)) for r, e in zip(rounded, exact, strict=True))
    assert 1e-4 < furthest < 0.05


@with_ncnn
def test_f16_stores_the_weights_in_half_the_size(
    seg_onnx: Path, converted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "cpuinfo", lambda: {"Features": "asimd asimdhp"})  # where these files go

    Ncnn(precision="f16").convert(seg_onnx, tmp_path / "model")

    size = (tmp_path / "model" / ncnn.BIN).stat().st_size
    assert 0.45 < size / (converted / ncnn.BIN).stat().st_size < 0.6


@with_ncnn
@pytest.mark.parametrize(
    ("precision", "flags", "wanted"),
    [("f16", "asimd", "asimdhp"), ("f16", "avx512_fp16", "asimdhp"), ("bf16", "avx2", "amx_bf16, avx512_bf16, bf16")],
)
def test_a_precision_that_the_processor_does_not_have_is_refused(
    precision: str, flags: str, wanted: str, converted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "cpuinfo", lambda: {"flags": flags})

    with pytest.raises(SpecError, match=rf"^runtime.precision={precision} needs a processor with one of {wanted}: "):
        Ncnn(threads=1, precision=precision).open(converted)


@with_ncnn
def test_a_picture_of_another_size_is_refused(converted: Path) -> None:
    with pytest.raises(ExportError, match=r"the net takes \[1, 3, 64, 64\], got a picture of \[1, 3, 32, 64\]"):
        Ncnn(threads=1).open(converted).run(np.zeros((1, 3, 32, 64), np.float32))


def without_metadata(folder: Path) -> None:
    (folder / ncnn.ABOUT).unlink()


def with_other_metadata(folder: Path) -> None:
    (folder / ncnn.ABOUT).write_text("[]")


def without_a_shape(folder: Path) -> None:
    about = json.loads((folder / ncnn.ABOUT).read_text())
    del about["output_shapes"]
    (folder / ncnn.ABOUT).write_text(json.dumps(about))


def without_weights(folder: Path) -> None:
    (folder / ncnn.BIN).unlink()


def with_a_changed_byte(folder: Path) -> None:
    whole = bytearray((folder / ncnn.BIN).read_bytes())
    whole[1000] ^= 1
    (folder / ncnn.BIN).write_bytes(whole)


@with_ncnn
@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (without_metadata, "its metadata.json cannot be read; convert it anew"),
        (with_other_metadata, "its metadata.json cannot be read; convert it anew"),
        (without_a_shape, "its metadata.json cannot be read; convert it anew"),
        (without_weights, "its model.ncnn.param or model.ncnn.bin is not what was written; convert it anew"),
        (with_a_changed_byte, "its model.ncnn.param or model.ncnn.bin is not what was written; convert it anew"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_folder_that_was_spoilt_is_told_by_what_is_wrong(
    spoil: Callable[[Path], None], line: str, copy: Path
) -> None:
    spoil(copy)

    with pytest.raises(ExportError, match=f"^cannot open .*model: {line}$"):
        Ncnn(threads=1).open(copy)


@with_ncnn
def test_a_layer_that_this_ncnn_does_not_know_is_told_in_one_line(copy: Path) -> None:
    param = (copy / ncnn.PARAM).read_text().replace("Swish ", "Foo ")
    (copy / ncnn.PARAM).write_text(param)
    about = json.loads((copy / ncnn.ABOUT).read_text()) | {"sha256": ncnn._digests(copy)}
    (copy / ncnn.ABOUT).write_text(json.dumps(about))

    with pytest.raises(ExportError, match=r"^ncnn 1\..* cannot open .*model; convert it anew$"):
        Ncnn(threads=1).open(copy)


def of_any_size(net: onnx.ModelProto) -> None:
    net.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"


def with_an_operator_of_its_own(net: onnx.ModelProto) -> None:
    net.graph.node[5].op_type, net.graph.node[5].domain = "Foo", "com.acme"


@with_ncnn
@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (of_any_size, "cannot convert {model}: its input takes any size; export it anew, with one shape"),
        (with_an_operator_of_its_own, "ONNX Runtime cannot open {model}: "),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_file_that_cannot_be_converted_gets_one_line_and_leaves_nothing(
    spoil: Callable[[onnx.ModelProto], None], line: str, seg_onnx: Path, tmp_path: Path
) -> None:
    net, model = onnx.load(seg_onnx), tmp_path / "net.onnx"
    spoil(net)
    onnx.save(net, model)

    with pytest.raises(ExportError) as refusal:
        Ncnn(threads=1).convert(model, tmp_path / "out")

    assert str(refusal.value).startswith(line.format(model=model))
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "out").exists()


@with_ncnn
def test_a_pnnx_that_crashes_is_told_in_one_line(
    seg_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "pnnx"
    program.write_text("#!/bin/sh\necho what it last said >&2\nkill -SEGV $$\n")
    program.chmod(0o755)
    monkeypatch.setattr(ncnn, "_pnnx", lambda: program)

    with pytest.raises(ExportError, match=r"^pnnx cannot convert .* \(exit code -11\): what it last said$"):
        Ncnn(threads=1).convert(seg_onnx, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@with_ncnn
def test_a_converted_net_that_is_not_the_same_is_refused(seg_onnx: Path, tmp_path: Path) -> None:
    Fp16().quantize(seg_onnx, (), tmp_path / "fp16.onnx")

    with pytest.raises(ExportError, match=r"^(cannot convert|pnnx cannot convert|ncnn .* cannot open) .*"):
        Ncnn(threads=1).convert(tmp_path / "fp16.onnx", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_precision_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="precision must be one of f32, f16, bf16, got 'int8'"):
        Ncnn(precision="int8")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("library", "line"),
    [
        ("ncnn", r"^runtime=ncnn needs ncnn: pip install 'secateur\[ncnn\]'$"),
        ("pnnx", r"^runtime=ncnn needs pnnx to convert what was exported: pip install 'secateur\[pnnx\]'$"),
    ],
)
def test_what_is_not_installed_is_told_by_its_extra(library: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if library == "pnnx" and not find_spec("ncnn"):
        pytest.skip(EXTRAS)
    monkeypatch.setitem(sys.modules, library, None)  # as Python notes that there is none

    with pytest.raises(SpecError, match=line):
        Ncnn().check()


@with_ncnn
def test_a_device_needs_no_pnnx(converted: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    for library in ("pnnx", "onnxruntime", "torch"):
        monkeypatch.setitem(sys.modules, library, None)

    assert Ncnn(threads=1).open(converted).run(picture)
