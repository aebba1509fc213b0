"""Which share of the unpruned net is gone: counted, or taken with the clock."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.edge.bench import Contender, compare
from secateur.ports import ChannelPruner, ConvertingRuntime, Gauge, Tools
from secateur.results import BASELINE, Interval, Trial
from secateur.specs import Benchmark, Export, Timer

if TYPE_CHECKING:
    from torch import nn

PLAN = Benchmark(rounds=3, seconds=1.0, warmup_seconds=0.3)  # of a trial; what ships is timed as `benchmark` says
COUNTED: dict[str, Any] = {"tolerance": 0.0005, "fillers": 16}
TIMED: dict[str, Any] = {"tolerance": 0.01, "fillers": 0}  # a search that comes nearer chases noise


def counted(unit: str, unpruned: nn.Module, widths: dict[str, int], imgsz: int, pruner: ChannelPruner) -> Gauge:
    """Of the channels that may be pruned, the MACs or the parameters."""

    def size(net: nn.Module) -> int:
        if unit == "channels":
            return sum(_out_channels(net, name) for name in widths)
        footprint = pruner.footprint(net, imgsz)
        return footprint.macs if unit == "macs" else footprint.params

    whole = size(unpruned)
    return lambda net: 1 - size(net) / whole


def _out_channels(net: nn.Module, name: str) -> int:
    layer: Any = net.get_submodule(name)
    return int(layer.out_channels)


class Stopwatch:
    """A gauge: the share of the unpruned net's p50 that is gone, on exported files, alternated with its own.

    Weights do not matter to time, so a net is timed as it was cut. One that is not faster beyond its interval lacks
    nothing that counts, which is said as minus infinity. `trials` holds all that was timed.
    """

    def __init__(
        self, unpruned: nn.Module, timer: Timer, export: Export, imgsz: int, tools: Tools, folder: Path
    ) -> None:
        self.runtime, self.export, self.imgsz, self.tools, self.folder = timer.runtime, export, imgsz, tools, folder
        self.unpruned = self._exported(unpruned, "unpruned")
        self.macs = tools.pruner.footprint(unpruned, imgsz).macs
        self.trials: list[Trial] = []

    def __call__(self, net: nn.Module) -> float:
        """The share that is gone; 0 for a net of as many MACs as the unpruned one, which is not timed, and -inf for one
        that is not surely faster. Raises ExportError where its file fails."""
        macs = self.tools.pruner.footprint(net, self.imgsz).macs
        if macs == self.macs:
            return 0.0  # nothing is cut yet
        speedup = self._speedup(self._exported(net, "trial"))
        self.trials.append(Trial(macs, speedup, refused=speedup.low <= 1))
        return -math.inf if speedup.low <= 1 else 1 - 1 / speedup.median

    def _speedup(self, trial: Path) -> Interval:
        files = {BASELINE: Contender(self.unpruned, self.runtime), "trial": Contender(trial, self.runtime)}
        return compare(files, BASELINE, PLAN, lambda *_: None)["trial"].speedup

    def _exported(self, net: nn.Module, name: str) -> Path:
        """The file, or folder, that the runtime opens."""
        weights, model = self.folder / f"{name}.pt", self.folder / f"{name}.onnx"
        self.tools.detector.save(net, weights)
        self.tools.detector.export_onnx(weights, self.imgsz, model, self.export.batch, self.export.dynamic)
        if not isinstance(self.runtime, ConvertingRuntime):
            return model
        self.runtime.convert(model, self.folder / name)
        return self.folder / name
