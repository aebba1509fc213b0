from __future__ import annotations

from pathlib import Path

import pytest

from secateur.adapters.channel_pruning import ChannelPruner
from secateur.adapters.yolo.door import Yolo
from secateur.importances.magnitude import Magnitude
from secateur.ports import Tools
from secateur.results import Sensitivity
from secateur.specs import Probes
from secateur.stages import sensitivity
from secateur.store import artifact
from tests.conftest import IMGSZ, no_progress


@pytest.fixture(scope="module")
def found(
    yolo: Yolo, trained_checkpoint: Path, easy_shapes: Path, tmp_path_factory: pytest.TempPathFactory
) -> Sensitivity:
    """Of the first two layers: the others are kept."""
    others = (*(f"model.{digit}*" for digit in range(2, 10)), "model.1[0-9]*")
    inputs = sensitivity.Inputs(
        artifact(trained_checkpoint), Magnitude(), True, others, Probes((0.25, 0.95), 8), IMGSZ,
        artifact(easy_shapes.parent), 0,
    )  # fmt: skip
    tools = Tools(yolo, ChannelPruner(), yolo, no_progress)
    return sensitivity.run(inputs, tools, tmp_path_factory.mktemp("out"))


def test_every_group_that_may_be_pruned_is_tried_at_every_ratio(found: Sensitivity) -> None:
    assert found.ratios == (0.25, 0.95)
    assert list(found.drops) == ["model.0.conv", "model.1.conv"]
    assert all(len(drops) == 2 for drops in found.drops.values())


def test_a_net_that_has_hardly_a_channel_left_somewhere_finds_less(
    found: Sensitivity, yolo: Yolo, trained_checkpoint: Path, easy_shapes: Path
) -> None:
    if yolo.evaluate(trained_checkpoint, easy_shapes, IMGSZ, no_progress).accuracy.main < 0.1:
        pytest.skip("the net that was trained here finds too little to lose anything")
    assert max(most for _, most in found.drops.values()) > 0.01
