from collections.abc import Callable
from pathlib import Path

import pytest

from secateur import processor
from secateur.quantizers.int8_qat import Int8Qat
from secateur.quantizers.int8_static import Int8Static
from secateur.store import digest_of
from tests.conftest import Recipe


@pytest.fixture(scope="module")
def part(recipe: Recipe) -> Callable[..., Int8Qat]:
    return lambda images=4, **changes: Int8Qat(training=recipe(precision="fp32", **changes), images=images)


def test_after_its_training_a_net_is_quantized_as_by_int8_static(
    part: Callable[..., Int8Qat], yolo_onnx: Path, pictures: list, tmp_path: Path
) -> None:
    part().quantize(yolo_onnx, iter(pictures), tmp_path / "qat.onnx")
    Int8Static(images=4).quantize(yolo_onnx, iter(pictures), tmp_path / "static.onnx")

    assert (tmp_path / "qat.onnx").read_bytes() == (tmp_path / "static.onnx").read_bytes()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"images": 0}, "images must be 1 or more, got 0"),
        ({"epochs": 0}, "training.epochs must be 1 or more"),
        ({"freeze": "untouched"}, "training.freeze must be none"),
        ({"last_epochs": 2}, "training.last_epochs must be null"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_training_that_cannot_be_is_refused(changes: dict, line: str, part: Callable[..., Int8Qat]) -> None:
    with pytest.raises(ValueError, match=line):
        part(**changes)


def test_what_auto_is_on_another_processor_is_another_key(
    part: Callable[..., Int8Qat], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = set()
    for machine, flags in (("x86_64", ("avx512_vnni",)), ("x86_64", ("avx2",)), ("aarch64", ())):
        monkeypatch.setattr(processor, "here", lambda found=(machine, flags): found)
        keys.add(digest_of(part()))

    assert len(keys) == 3
