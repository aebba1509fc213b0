"""What holds for every quantizer that changes the net."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from secateur import app, plugins
from secateur.errors import ExportError, SpecError
from secateur.quantizers import int8_static
from secateur.quantizers.fp16 import Fp16
from secateur.quantizers.int8_accuracy import Int8Accuracy
from secateur.quantizers.int8_dynamic import Int8Dynamic
from secateur.quantizers.int8_qat import Int8Qat
from secateur.stages import evaluate, quantize

NAMES = [name for name in plugins.names("quantization") if name != "fp32"]  # it copies whatever there is

every_quantizer = pytest.mark.parametrize("name", NAMES)


def quantizer(name: str) -> Any:
    try:
        return app.check([f"quantization={name}"]).quantization
    except SpecError as missing:
        if "pip install" not in str(missing):
            raise
        pytest.skip(str(missing))


@pytest.mark.parametrize("part", [Int8Accuracy, Int8Qat])
def test_the_key_of_a_part_that_builds_on_int8_static_holds_the_version_of_both(part: type) -> None:
    own = sys.modules[part.__module__].VERSION

    assert str(own).startswith(f"{int8_static.VERSION}.")


def test_the_key_of_a_file_that_was_judged_holds_the_versions_of_the_evaluator() -> None:
    assert set(evaluate.LIBRARIES) <= {*quantize.LIBRARIES, *Int8Accuracy.libraries}


def broken(original: Path, out: Path) -> None:
    out.write_bytes(b"not a model")


def missing(original: Path, out: Path) -> None:
    """Nothing is written."""


def of_any_size(original: Path, out: Path) -> None:
    net = onnx.load(original)
    net.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    onnx.save(net, out)


def of_two_pictures(original: Path, out: Path) -> None:
    net = onnx.load(original)
    net.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    for output in net.graph.output:
        output.type.tensor_type.shape.dim[0].dim_value = 2
    onnx.save(net, out)


def in_fp16(original: Path, out: Path) -> None:
    Fp16().quantize(original, (), out)


def in_int8(original: Path, out: Path) -> None:
    Int8Dynamic().quantize(original, (), out)


@every_quantizer
@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (broken, "cannot read {model}: "),
        (missing, "cannot read {model}: "),
        (of_any_size, "cannot quantize {model}: the shape of its input 'images' is dynamic; export it anew"),
        (of_two_pictures, "cannot quantize {model}: it takes 2 pictures at once; export it anew"),
        (in_fp16, "cannot quantize {model}: its weights have 16 bits already; export it anew"),
        (in_int8, "cannot quantize {model}: it is quantized already; export it anew"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_file_that_cannot_be_taken_gets_one_line_and_leaves_nothing(
    name: str, spoil: Callable[[Path, Path], None], line: str, yolo_onnx: Path, pictures: list, tmp_path: Path
) -> None:
    part, model, out = quantizer(name), tmp_path / "model.onnx", tmp_path / "out"
    out.mkdir()
    spoil(yolo_onnx, model)

    with pytest.raises(ExportError) as refusal:
        part.quantize(model, iter(pictures), out / "quantized.onnx")

    assert str(refusal.value).startswith(line.format(model=model))
    assert "\n" not in str(refusal.value)
    assert list(out.iterdir()) == []


@every_quantizer
def test_the_file_keeps_inputs_outputs_and_what_ultralytics_reads(
    name: str, yolo_onnx: Path, pictures: list, tmp_path: Path
) -> None:
    quantizer(name).quantize(yolo_onnx, iter(pictures), tmp_path / "quantized.onnx")

    original, quantized = onnx.load(yolo_onnx), onnx.load(tmp_path / "quantized.onnx")
    assert quantized.graph.input == original.graph.input
    assert quantized.graph.output == original.graph.output
    assert all(entry in quantized.metadata_props for entry in original.metadata_props)
