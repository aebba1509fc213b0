from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from torch import nn

from secateur import budgets
from secateur.adapters.channel_pruning import ChannelPruner
from secateur.adapters.yolo.door import Yolo
from secateur.budgets import Stopwatch, counted
from secateur.edge.fingerprint import fingerprint
from secateur.ports import Tools
from secateur.runtimes.onnxruntime import Onnxruntime
from secateur.specs import Benchmark, Export, Timer
from tests.conftest import no_progress, prune

if TYPE_CHECKING:
    from secateur.ports import Gauge


def chain(first: int, second: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, first, 1, bias=False), nn.Conv2d(first, second, 1, bias=False))


@pytest.mark.parametrize(
    ("unit", "gone"),
    [
        ("channels", 3 / 4),  # by hand: 1 of 4 is left
        ("params", 1 - (3 * 1 + 1 * 2) / (3 * 4 + 4 * 2)),
        ("macs", 1 - (3 * 1 + 1 * 2) / (3 * 4 + 4 * 2)),  # each weight once a pixel
    ],
)
def test_what_is_gone_is_counted_against_the_unpruned_net(unit: str, gone: float) -> None:
    gauge: Gauge = counted(unit, chain(4, 2), {"0": 4}, 8, ChannelPruner())

    assert gauge(chain(4, 2)) == 0
    assert gauge(chain(1, 2)) == pytest.approx(gone)


@pytest.fixture
def watch(yolo: Yolo, seg_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stopwatch:
    monkeypatch.setattr(budgets, "PLAN", Benchmark(rounds=3, seconds=0.3, warmup_seconds=0.1))
    timer = Timer(Onnxruntime(), "1", fingerprint())
    tools = Tools(yolo, ChannelPruner(), yolo, no_progress)
    return Stopwatch(yolo.load(seg_checkpoint), timer, Export(batch=2), 160, tools, tmp_path)


def test_time_is_taken_of_exported_nets_and_every_trial_is_kept(
    watch: Stopwatch, yolo: Yolo, seg_checkpoint: Path
) -> None:
    net = yolo.load(seg_checkpoint)
    small = prune(yolo, net, target=0.8)

    gone = watch(small)

    (trial,) = watch.trials
    assert Onnxruntime().open(watch.unpruned).input_shape == (2, 3, 160, 160)  # as what ships will be
    assert not trial.refused
    assert gone == pytest.approx(1 - 1 / trial.speedup.median)
    assert 0 < gone < 1


def test_a_net_that_is_not_faster_is_refused(watch: Stopwatch, yolo: Yolo, seg_checkpoint: Path) -> None:
    net = yolo.load(seg_checkpoint)
    watch.unpruned = watch._exported(prune(yolo, net, target=0.8), "small")  # what it is compared with is faster
    watch.macs = 0

    gone = watch(net)

    (trial,) = watch.trials
    assert trial.refused
    assert gone == -math.inf


def test_a_net_that_lost_nothing_is_not_timed(watch: Stopwatch, yolo: Yolo, seg_checkpoint: Path) -> None:
    assert watch(yolo.load(seg_checkpoint)) == 0
    assert watch.trials == []
