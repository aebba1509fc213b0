"""What holds for every quantizer that changes the net."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from secateur import plugins
from secateur.app import commands
from secateur.errors import ExportError, SpecError
from secateur.intake import answers
from secateur.quantizers import int8_static
from secateur.quantizers.fp16 import Fp16
from secateur.quantizers.int8_accuracy import Int8Accuracy
from secateur.quantizers.int8_dynamic import Int8Dynamic
from secateur.quantizers.int8_qat import Int8Qat
from secateur.runtimes.onnxruntime import Onnxruntime
from secateur.stages import evaluate, quantize

NAMES = [name for name in plugins.names("quantization") if name != "fp32"]  # it copies whatever there is

FOR_ANY_SHAPE = [name for name in NAMES if plugins.load("quantization", name).any_shape]

every_quantizer = pytest.mark.parametrize("name", NAMES)


def quantizer(name: str) -> Any:
    try:
        return commands.check([f"quantization={name}"]).quantization
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


def near(given: list[np.ndarray], wanted: list[np.ndarray]) -> bool:
    """As far as rounding goes."""
    pairs = list(zip(given, wanted, strict=True))
    return all(
        one.shape == other.shape and np.abs(one - other).mean() < 0.1 * np.abs(other).mean() for one, other in pairs
    )


@every_quantizer
def test_a_file_for_four_pictures_answers_each_as_the_net_does(
    name: str, yolo_onnx: Path, four_onnx: Path, pictures: list, tmp_path: Path
) -> None:
    quantizer(name).quantize(four_onnx, iter(pictures), tmp_path / "quantized.onnx")

    net, session = Onnxruntime().open(yolo_onnx), Onnxruntime().open(tmp_path / "quantized.onnx")
    assert session.input_shape[0] == 4
    for picture, given in zip(pictures[:3], answers(session, pictures[:3]), strict=True):
        assert near(given, net.run(picture))


@pytest.mark.parametrize("name", FOR_ANY_SHAPE)
def test_a_file_for_any_shape_stays_one_and_answers_as_the_net_does(
    name: str, open_onnx: Path, pictures: list, tmp_path: Path
) -> None:
    quantizer(name).quantize(open_onnx, iter(pictures), tmp_path / "quantized.onnx")

    net, session = Onnxruntime().open(open_onnx), Onnxruntime().open(tmp_path / "quantized.onnx")
    for images in (pictures[0], np.concatenate(pictures)[:2, :, :64, :32]):
        assert near(session.run(np.ascontiguousarray(images)), net.run(np.ascontiguousarray(images)))


@pytest.mark.parametrize("name", sorted({*NAMES} - {*FOR_ANY_SHAPE}))
def test_a_file_for_any_shape_is_refused_in_one_line_by_all_others(
    name: str, open_onnx: Path, pictures: list, tmp_path: Path
) -> None:
    with pytest.raises(ExportError) as refusal:
        quantizer(name).quantize(open_onnx, iter(pictures), tmp_path / "quantized.onnx")

    assert str(refusal.value) == (
        f"cannot quantize {open_onnx}: the shape of its input 'images' is dynamic; export it anew, with one shape"
    )
    assert list(tmp_path.iterdir()) == []
