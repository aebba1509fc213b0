from pathlib import Path

import pytest

from secateur.doctor.graph import Graph, read
from secateur.doctor.processor import findings
from secateur.quantizers.int8_static import Int8Static
from tests.doctor.conftest import Images

OLD_X86 = ("avx", "avx2", "fma")


def checks(model: Path, flags: tuple[str, ...], machine: str, is_quantized: bool = True) -> list[str]:
    return [finding.check for finding in findings(Graph(read(model).graph), flags, machine, is_quantized)]


@pytest.mark.parametrize("flag", ["avx512_vnni", "avx_vnni", "amx_int8"])
def test_an_x86_processor_with_8_bit_products_lacks_nothing(flag: str, int8_onnx: Path) -> None:
    assert checks(int8_onnx, (*OLD_X86, flag), "x86_64") == []


@pytest.mark.parametrize("flag", ["asimddp", "i8mm"])
def test_an_arm_processor_with_8_bit_products_lacks_nothing(flag: str, int8_onnx: Path) -> None:
    assert checks(int8_onnx, ("asimd", flag), "aarch64") == []


def test_an_arm_processor_without_them_is_slow_but_does_not_overflow(int8_onnx: Path) -> None:
    assert checks(int8_onnx, ("asimd",), "aarch64") == ["processor"]


def test_an_x86_processor_without_them_is_slow_and_overflows(int8_onnx: Path) -> None:
    slow, wrong = findings(Graph(read(int8_onnx).graph), OLD_X86, "x86_64", is_quantized=True)

    assert (slow.about, wrong.about) == ("slow", "wrong")
    assert "avx512_vnni" in slow.text
    assert "quantization.reduce_range=true" in wrong.remedy


def test_7_bit_weights_do_not_overflow(seg_onnx: Path, noise: Images, tmp_path: Path) -> None:
    Int8Static(images=1, reduce_range=True).quantize(seg_onnx, noise[:1], tmp_path / "seven.onnx")

    assert checks(tmp_path / "seven.onnx", OLD_X86, "x86_64") == ["processor"]


def test_a_float_file_is_told_what_the_processor_could_do(seg_onnx: Path) -> None:
    (told,) = findings(Graph(read(seg_onnx).graph), ("avx2", "avx512_vnni"), "x86_64", is_quantized=False)

    assert told.remedy == "quantization=int8_static"
    assert checks(seg_onnx, OLD_X86, "x86_64", is_quantized=False) == []


def test_a_system_that_does_not_tell_its_flags_is_not_judged(int8_onnx: Path) -> None:
    assert checks(int8_onnx, (), "arm64") == []
