import pytest

from secateur.results import AccuracyChange, Change, Sensitivity

FOUND = Sensitivity((0.25, 0.5), {"wide": (0.02, 0.1), "odd": (0.03, 0.01), "free": (-0.01, 0.0)})


@pytest.mark.parametrize(
    ("group", "share", "drop"),
    [
        ("wide", 0.25, 0.02),
        ("wide", 0.375, 0.06),  # by hand: half way from 0.02 to 0.1
        ("wide", 0.125, 0.01),  # half way from nothing
        ("wide", 0.75, 0.18),  # the last slope goes on: 0.08 a quarter
        ("odd", 0.5, 0.03),  # no less than with fewer channels gone
        ("free", 0.5, 0.0),  # what looks like a gain counts as no loss
    ],
)
def test_a_drop_lies_on_straight_lines_between_the_ratios(group: str, share: float, drop: float) -> None:
    assert FOUND.drop(group, share) == pytest.approx(drop)


@pytest.mark.parametrize(
    ("box", "mask", "is_loss"),
    [
        (Change(-0.02, -0.03, -0.01), Change(-0.01, -0.02, 0.01), True),
        (Change(-0.01, -0.02, 0.01), Change(-0.02, -0.03, -0.01), True),
        (Change(-0.01, -0.02, 0.01), Change(-0.01, -0.02, 0.01), False),
        (Change(0.02, 0.01, 0.03), Change(0.02, 0.01, 0.03), False),
        (Change(-0.02, -0.03, -0.01), None, True),
        (Change(-0.01, -0.02, 0.01), None, False),
    ],
)
def test_a_loss_is_one_whose_interval_lies_below_0_of_boxes_or_of_masks(
    box: Change, mask: Change | None, is_loss: bool
) -> None:
    assert AccuracyChange(box, mask).is_loss is is_loss
