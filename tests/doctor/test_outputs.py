from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from secateur.doctor.outputs import findings, first_fault, look
from secateur.runtimes.onnxruntime import Onnxruntime
from tests.doctor.conftest import Images, changed, last_quantized, scaled


class Recorded:
    """A session that gives what it is told to, one picture after the other."""

    def __init__(self, *outputs: np.ndarray) -> None:
        self.input_shape = (1, 3, 8, 8)
        self._outputs = iter(outputs)

    def run(self, image: np.ndarray) -> list[np.ndarray]:
        return [next(self._outputs)]


def fault_of(*outputs: np.ndarray, classes: int | None = 2) -> str | None:
    (found,) = look(Recorded(*outputs), classes, [np.zeros((1, 3, 8, 8), np.float32)] * len(outputs))
    return found.fault


def boxes(seed: int = 0) -> np.ndarray:
    """(1, 4 + 2 + 3, 21): boxes, scores of two classes, three mask coefficients."""
    return np.random.default_rng(seed).random((1, 9, 21), np.float32)


def test_a_sound_net_has_no_fault(seg_onnx: Path, int8_onnx: Path, noise: Images) -> None:
    for model in (seg_onnx, int8_onnx):
        assert first_fault(look(Onnxruntime().open(model), 5, noise)) is None


def test_a_scale_that_is_no_number_is_told_by_what_comes_out(int8_onnx: Path, noise: Images, tmp_path: Path) -> None:
    def spoil(net: onnx.ModelProto) -> None:
        for tensor in last_quantized(net):
            scaled(net, tensor, float("nan"))

    broken = changed(int8_onnx, tmp_path / "nan.onnx", spoil)

    fault = first_fault(look(Onnxruntime().open(broken), 5, noise))

    assert fault is not None
    assert fault.startswith("output0 is not finite (NaN or infinite) in ")


def test_a_scale_that_is_far_too_coarse_gives_the_same_for_every_picture(
    int8_onnx: Path, noise: Images, tmp_path: Path
) -> None:
    def spoil(net: onnx.ModelProto) -> None:
        for tensor in last_quantized(net):
            scaled(net, tensor, 1e6)

    broken = changed(int8_onnx, tmp_path / "coarse.onnx", spoil)

    fault = first_fault(look(Onnxruntime().open(broken), 5, noise))

    assert fault == "output0 is constant: the same on all of 4 pictures"


def test_scores_that_share_a_scale_with_coordinates_are_constant(decode_too: Path, noise: Images) -> None:
    fault = first_fault(look(Onnxruntime().open(decode_too), 5, noise))

    assert fault == "output0 has constant scores: at every position the same (0 to 0)"


def test_one_infinite_value_is_a_fault() -> None:
    broken = boxes()
    broken[0, 0, 0] = np.inf

    assert fault_of(boxes(1), broken) == f"is not finite (NaN or infinite) in {1 / (2 * 9 * 21):.1%} of its values"


def test_an_output_that_is_one_number_is_a_fault() -> None:
    assert fault_of(np.full((1, 9, 21), 0.5)) == "is constant: 0.5 everywhere, on all of 1 pictures"


def test_constant_scores_are_a_fault_even_where_boxes_and_coefficients_vary() -> None:
    dead = boxes()
    dead[:, 4:6] = 0.25

    assert fault_of(dead, boxes(1) * 0 + dead + 0) == "is constant: the same on all of 2 pictures"
    assert fault_of(dead) == "has constant scores: at every position the same (0.25 to 0.25)"


def test_a_class_that_is_never_seen_is_no_fault() -> None:
    rare = boxes()
    rare[:, 5] = 0

    assert fault_of(rare) is None


def test_a_head_that_suppresses_boxes_itself_is_judged_by_the_score_of_each() -> None:
    rows = np.random.default_rng(0).random((1, 300, 6), np.float32)
    dead = rows.copy()
    dead[..., 4] = 0

    assert fault_of(rows) is None
    assert fault_of(dead) == "has constant scores: at every position the same (0 to 0)"


@pytest.mark.parametrize("drawn", [True, False])
def test_a_fault_on_drawn_pictures_says_that_real_ones_should_be_looked_at(drawn: bool) -> None:
    outputs = look(Recorded(np.zeros((1, 9, 21))), 2, [np.zeros((1, 3, 8, 8), np.float32)])

    (finding,) = findings(outputs, drawn)

    assert finding.about == "wrong"
    assert ("--data" in finding.text) == drawn
