from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from secateur.edge.predictor import Predictor
from secateur.edge.selftest import Expected, check, expect
from secateur.errors import ExportError

Outputs = list[NDArray[np.float32]]

SHAPE = (1, 3, 64, 64)
NAMES = ("cat", "dog")
PICTURES = [np.random.default_rng(number).integers(256, size=(64, 64, 3), dtype=np.uint8) for number in range(3)]


class Session:
    """A segmentation net of a line of arithmetic, and what a device makes of its outputs."""

    input_shape: tuple[int, ...] = SHAPE
    metadata: Mapping[str, str] = {}

    def __init__(self, spoil: Callable[[Outputs], Outputs] = lambda outputs: outputs) -> None:
        self._spoil = spoil

    def run(self, image: NDArray[np.float32]) -> Sequence[NDArray[Any]]:
        spots = image.reshape(len(image), 12, 1024)
        boxes, scores, coefficients = spots[:, :4] * 64, spots[:, 4:6] ** 9, spots[:, 6:] * 2 - 1
        prototypes = spots.reshape(len(image), 6, 32, 64)
        return self._spoil([np.concatenate([boxes, scores, coefficients], axis=1), prototypes])


def predictor(spoil: Callable[[Outputs], Outputs] = lambda outputs: outputs) -> Predictor:
    return Predictor(Session(spoil), NAMES)


def expected(quantization: str = "fp32") -> Expected:
    """As it comes out of a bundle."""
    made = expect(predictor(), PICTURES, quantization)
    return msgspec.json.decode(msgspec.json.encode(made), type=Expected)


def deviations(spoil: Callable[[Outputs], Outputs], quantization: str = "fp32") -> dict[str, float | None]:
    return check(predictor(spoil), PICTURES, expected(quantization)).deviations


def scaled(part: slice, by: float) -> Callable[[Outputs], Outputs]:
    def spoil(outputs: Outputs) -> Outputs:
        outputs[0][:, part] *= by
        return outputs

    return spoil


def test_a_device_that_gives_the_same_passes() -> None:
    found = check(predictor(), PICTURES, expected())

    assert set(found.deviations) == {"boxes", "scores", "coefficients", "prototypes"}
    assert max(value for value in found.deviations.values() if value is not None) < 0.001
    assert found.fault is None


@pytest.mark.parametrize(
    ("part", "name"), [(slice(0, 4), "boxes"), (slice(4, 6), "scores"), (slice(6, None), "coefficients")]
)
def test_each_part_is_compared_by_itself(part: slice, name: str) -> None:
    found = deviations(scaled(part, 0.5))

    assert (found.pop(name) or 0) > 0.25
    assert max(value for value in found.values() if value is not None) < 0.001


def test_a_deviation_is_the_rms_of_the_difference_over_the_spread() -> None:
    """By hand: all boxes moved by 6.4 px, which lie evenly in 64 px, whose standard deviation is 64 / √12."""

    def moved(outputs: Outputs) -> Outputs:
        outputs[0][:, :4] += 6.4
        return outputs

    assert deviations(moved)["boxes"] == pytest.approx(0.1 * 12**0.5, rel=0.1)


def test_rounding_as_int8_kernels_do_it_passes_there_and_not_in_float() -> None:
    def rounded(outputs: Outputs) -> Outputs:
        return [np.round(output * 8) / 8 for output in outputs]

    assert check(predictor(rounded), PICTURES, expected("int8_static")).fault is None
    fault = check(predictor(rounded), PICTURES, expected("fp32")).fault
    assert fault is not None
    assert fault.endswith("of their spread, more than 0.05")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_fails(bad: float) -> None:
    found = check(predictor(scaled(slice(4, 6), bad)), PICTURES, expected())

    assert found.fault == "its scores are not finite, or of another shape"


@pytest.mark.parametrize("spoil", [lambda outputs: [outputs[0][:, :, :512], outputs[1]], lambda outputs: outputs[:1]])
def test_another_shape_fails(spoil: Callable[[Outputs], Outputs]) -> None:
    assert None in deviations(spoil).values()


def test_where_next_to_nothing_is_found_trifles_do_not_count() -> None:
    def faint(outputs: Outputs) -> Outputs:
        outputs[0][:, 4:6] *= 1e-4
        return outputs

    faint_expected = expect(predictor(faint), PICTURES, "fp32")

    assert check(predictor(scaled(slice(4, 6), 3e-4)), PICTURES, faint_expected).fault is None


def test_a_head_that_suppresses_boxes_itself_is_known_by_its_scores_in_any_order() -> None:
    def suppressed(outputs: Outputs) -> Outputs:
        rows = outputs[0].transpose(0, 2, 1)[:, :300, :6]
        rows[..., 2:4] = rows[..., :2] + 9
        return [rows]

    def shuffled(outputs: Outputs) -> Outputs:
        return [suppressed(outputs)[0][:, ::-1]]

    wanted = expect(predictor(suppressed), PICTURES, "fp32")

    found = check(predictor(shuffled), PICTURES, wanted)
    assert list(found.deviations) == ["scores"]
    assert found.fault is None


def test_a_file_that_takes_several_pictures_at_once_is_tested_too() -> None:
    session = Session()
    session.input_shape = (4, *SHAPE[1:])

    assert check(Predictor(session, NAMES), PICTURES, expected()).fault is None


def test_what_is_no_yolo_is_told() -> None:
    with pytest.raises(ExportError, match=r"the model gives \[\(1, 6, 32, 64\)\], nothing that a YOLO gives"):
        expect(predictor(lambda outputs: outputs[1:]), PICTURES, "fp32")


@pytest.mark.parametrize(
    "sketch",
    [
        {"shape": [1, 4], "positions": [4], "values": [[0.0]]},
        {"shape": [1, 4], "positions": [-1], "values": [[0.0]]},
        {"shape": [2, 4], "positions": [0], "values": [[0.0]]},
        {"shape": [1, 4], "positions": [0, 1], "values": [[0.0]]},
    ],
)
def test_expectations_that_do_not_fit_their_shape_are_refused(sketch: dict[str, Any]) -> None:
    plain = {"allowed": 0.1, "pictures": [{"parts": {"scores": sketch}, "found": []}]}

    with pytest.raises(msgspec.ValidationError, match="a sketch has "):
        msgspec.convert(plain, Expected)
