import logging
from typing import Any

import pytest

from secateur.errors import SpecError
from secateur.pipeline import check_apart
from secateur.ports import Quantizer
from secateur.quantizers.fp16 import Fp16
from secateur.quantizers.fp32 import Fp32
from secateur.quantizers.int8_dynamic import Int8Dynamic
from secateur.quantizers.int8_static import Int8Static
from secateur.stages import prepare

NOWHERE: Any = None


def data(shared: int) -> prepare.Outputs:
    """Five validation pictures, so many of which are training pictures."""
    return prepare.Outputs(NOWHERE, ("box",), "polygons", 9, 5, 20, 10, val_in_train=shared)


def test_calibration_on_validation_pictures_is_refused_in_one_line() -> None:
    with pytest.raises(SpecError) as refusal:
        check_apart(data(shared=3), Int8Static())

    assert str(refusal.value) == (
        "dataset: 3 of 5 validation pictures are training pictures too, which int8_static calibrates on: split them "
        "anew, or take a quantization without calibration: fp16, fp32, int8_dynamic"
    )


@pytest.mark.parametrize("quantizer", [Fp32(), Fp16(), Int8Dynamic()], ids=lambda quantizer: quantizer.name)
def test_without_calibration_one_line_warns_of_them(quantizer: Quantizer, caplog: pytest.LogCaptureFixture) -> None:
    check_apart(data(shared=3), quantizer)

    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        "dataset: 3 of 5 validation pictures are training pictures too: whatever is pruned, healed or trained by them "
        "scores better than it is"
    )


def test_nothing_is_said_where_the_splits_are_apart(caplog: pytest.LogCaptureFixture) -> None:
    check_apart(data(shared=0), Int8Static())

    assert caplog.records == []
