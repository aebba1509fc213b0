from dataclasses import replace
from pathlib import Path

import pytest

from secateur.doctor.file import findings
from secateur.examination import ModelFile

SOUND = ModelFile(Path("m.onnx"), 1, 18, "pytorch 2.13", (1, 3, 640, 640), "segment", 80, 640, 0)


def test_a_file_with_all_that_readers_look_for_has_nothing_to_tell() -> None:
    assert findings(SOUND) == []


@pytest.mark.parametrize(
    ("changes", "check", "text"),
    [
        ({"opset": 11}, "opset", "opset 11"),
        ({"input_shape": ("batch", 3, "height", "width")}, "dynamic_shape", "(batch, height, width)"),
        ({"task": None}, "metadata", "no task in its metadata"),
        ({"classes": None, "imgsz": None}, "metadata", "no names, imgsz in its metadata"),
    ],
)
def test_what_it_lacks_is_told(changes: dict, check: str, text: str) -> None:
    (finding,) = findings(replace(SOUND, **changes))

    assert finding.check == check
    assert text in finding.text
