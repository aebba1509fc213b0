from __future__ import annotations

from pathlib import Path

import pytest

from secateur.adapters.channel_pruning import ChannelPruner
from secateur.adapters.yolo.door import Yolo
from secateur.errors import GraphError
from secateur.importances.magnitude import Magnitude
from secateur.ports import Tools
from secateur.specs import Scope
from secateur.stages import prune
from secateur.store import artifact
from tests.conftest import IMGSZ, no_progress


@pytest.fixture
def tools(yolo: Yolo) -> Tools:
    return Tools(yolo, ChannelPruner(), yolo, no_progress)


def inputs(checkpoint: Path, scope: Scope, unit: str = "macs", target: float = 0.2) -> prune.Inputs:
    weights = artifact(checkpoint)
    return prune.Inputs(weights, weights, Magnitude(), scope, unit, target, IMGSZ)


@pytest.mark.parametrize("unit", ["macs", "params"])
@pytest.mark.parametrize("round_to", [1, 8])
def test_a_budget_is_met_within_half_a_percent_of_the_unpruned_net(
    unit: str, round_to: int, seg_checkpoint: Path, tools: Tools, tmp_path: Path
) -> None:
    asked = inputs(seg_checkpoint, Scope(kind="global", round_to=round_to), unit, 0.3)

    made = prune.run(asked, tools, tmp_path)

    whole, left = (tools.pruner.footprint(tools.detector.load(path), IMGSZ) for path in
                   (seg_checkpoint, made.weights.path))  # fmt: skip
    assert made.reached == pytest.approx(0.3, abs=0.005)
    assert 1 - getattr(left, unit) / getattr(whole, unit) == pytest.approx(made.reached)


def test_layers_whose_name_fits_a_pattern_keep_their_channels(
    seg_checkpoint: Path, tools: Tools, tmp_path: Path
) -> None:
    everything = prune.run(inputs(seg_checkpoint, Scope()), tools, tmp_path)
    some = prune.run(inputs(seg_checkpoint, Scope(keep=("model.0.*", "model.1.conv"))), tools, tmp_path)

    assert everything.channels.keys() - some.channels.keys() == {"model.0.conv", "model.1.conv"}
    assert some.reached == pytest.approx(0.2, abs=0.005)


def test_a_pattern_that_fits_no_layer_is_refused(seg_checkpoint: Path, tools: Tools, tmp_path: Path) -> None:
    with pytest.raises(
        GraphError, match=r"^scope\.keep: 'model\.99\.\*' matches no layer; there are model\.0\.conv, model\.0\.bn, "
    ):
        prune.run(inputs(seg_checkpoint, Scope(keep=("model.99.*",))), tools, tmp_path)


def test_where_everything_is_kept_there_is_nothing_to_prune(seg_checkpoint: Path, tools: Tools, tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="the net has no group of channels that may be pruned"):
        prune.run(inputs(seg_checkpoint, Scope(keep=("*",))), tools, tmp_path)
