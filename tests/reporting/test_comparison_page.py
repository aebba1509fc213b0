from dataclasses import replace
from pathlib import Path

import pytest

from secateur.comparisons import compared, runs_in
from secateur.reporting.comparison_page import _label

HONEST = Path(__file__).parents[2] / "docs" / "example" / "honest"


@pytest.mark.parametrize(
    ("asked", "label"),
    [
        ("schedule.target=0.6 importance=taylor quantization=int8_static", "pruned-int8_static target=0.6 taylor"),
        ("scope.round_to=8", "pruned-int8_static round_to=8"),  # though the file's name has an 8
        ("quantization.per_channel=false healing=none", "pruned-int8_static per_channel=false healing=none"),
        ("", "pruned-int8_static"),
    ],
)
def test_a_files_label_tells_names_alone_and_numbers_and_switches_with_their_key(asked: str, label: str) -> None:
    (group,) = compared(runs_in([HONEST]), every=True).groups

    assert _label(replace(group.entries[0], file="pruned-int8_static", asked=asked)) == label
