"""What a run finds out: frozen values, each with its unit in the name."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

BASELINE = "baseline-fp32"
"""Name of the candidate that all others are compared with: the unpruned net, exported in FP32."""

PRUNED = "pruned-"
"""How the names of pruned nets' files begin."""


FEW_PICTURES = 10
"""A class that fewer validation pictures hold has much too narrow an interval: that of one picture may be a point."""


@dataclass(frozen=True)
class Artifact:
    """A file or folder that a stage made; equal content has an equal digest, wherever it lies."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class Footprint:
    """What a net costs; one MAC is one multiply-add, counted at the run's image size."""

    params: int
    macs: int


@dataclass(frozen=True)
class Accuracy:
    """COCO-style mean average precision, fractions; the mask figures are None for a detector."""

    box_map50_95: float
    box_map50: float
    mask_map50_95: float | None
    mask_map50: float | None
    images: int
    evaluator: str

    @property
    def main(self) -> float:
        """The figure that budgets speak of: mask mAP50-95, or box mAP50-95 of a detector."""
        return self.box_map50_95 if self.mask_map50_95 is None else self.mask_map50_95


@dataclass(frozen=True)
class Epoch:
    """One pass over the training pictures: the mean of each loss over its batches, and the rate at its end."""

    epoch: int
    epochs: int
    losses: dict[str, float]
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class Fingerprint:
    """The device a latency holds for; latencies of two fingerprints are never compared."""

    machine: str
    processor: str
    cores: int
    flags: tuple[str, ...]
    system: str
    governor: str | None = None
    """How the clock of its cores is set, where it can be read."""


@dataclass(frozen=True)
class Percentiles:
    """Milliseconds an image takes."""

    p50: float
    p90: float
    p95: float
    p99: float


@dataclass(frozen=True)
class Interval:
    """A median with its 95 % bootstrap interval."""

    median: float
    low: float
    high: float

    def around_ms(self, ms: float) -> tuple[float, float]:
        """Of a speed-up: the same interval as times, around what was measured."""
        return ms * self.median / self.high, ms * self.median / self.low


@dataclass(frozen=True)
class Change:
    """A difference as it was measured, with its 95 % bootstrap interval."""

    observed: float
    low: float
    high: float

    @property
    def is_measurable(self) -> bool:
        """Whether the interval leaves out 0."""
        return not self.low <= 0 <= self.high

    def around(self, figure: float) -> tuple[float, float]:
        """The same interval, around the figure that it is a change of."""
        return figure + self.low - self.observed, figure + self.high - self.observed


@dataclass(frozen=True)
class AccuracyChange:
    """Of the mAP to the unpruned FP32 file's, paired by validation picture; the mask's is None for a detector."""

    box_map50_95: Change
    mask_map50_95: Change | None

    @property
    def main(self) -> Change:
        """Of the figure that budgets speak of."""
        return self.box_map50_95 if self.mask_map50_95 is None else self.mask_map50_95

    @property
    def is_loss(self) -> bool:
        """Whether boxes or masks are measurably worse."""
        return any(change is not None and change.high < 0 for change in (self.box_map50_95, self.mask_map50_95))


@dataclass(frozen=True)
class ClassChange:
    """What one class' mAP50-95, of masks or of a detector's boxes, differs by from the unpruned FP32 file's, paired by
    validation picture; `objects` of it are labelled there, in so many `pictures`."""

    name: str
    objects: int
    pictures: int
    before: float
    after: float
    change: Change

    @property
    def is_told_by_few(self) -> bool:
        """Whether too few pictures hold it for its interval to say anything."""
        return self.pictures < FEW_PICTURES

    @property
    def is_measurable(self) -> bool:
        """Whether the interval leaves out 0, and is to be trusted."""
        return not self.is_told_by_few and self.change.is_measurable


@dataclass(frozen=True)
class EndToEnd:
    """Time of one picture, from its pixels in memory to its boxes and masks, and of what comes before and after the
    forward pass; `speedup` is that of the whole."""

    preprocess_ms: Percentiles
    postprocess_ms: Percentiles
    ms: Percentiles
    speedup: Interval


QUANTILES = tuple(range(5, 100, 5))
"""Per cent of the passes that took no longer than the `quantiles` of a latency, one each."""


@dataclass(frozen=True)
class Latency:
    """Time of one forward pass; `speedup` is paired with the baseline's, turn by turn.

    `load_seconds` is what opening the file took, `peak_memory_mb` the most that its process held, None where the system
    does not tell; `end_to_end` is there where pictures were at hand, and the file takes one at a time;
    `quantiles` are milliseconds, rising, one for each of QUANTILES, and empty where an older run did not keep them.
    """

    ms: Percentiles
    speedup: Interval
    rounds: int
    runtime: str
    runtime_version: str
    threads: int
    imgsz: int
    batch: int
    images_per_second: float
    load_seconds: float
    peak_memory_mb: float | None
    end_to_end: EndToEnd | None = None
    quantiles: tuple[float, ...] = ()


@dataclass(frozen=True)
class Trial:
    """A net on the way to a latency budget, timed against the unpruned one; one that is not faster is refused."""

    macs: int
    speedup: Interval
    refused: bool


@dataclass(frozen=True)
class Sensitivity:
    """mAP50-95 that the net loses when one group alone is narrowed; `drops` has a row a group, a column a ratio."""

    ratios: tuple[float, ...]
    drops: dict[str, tuple[float, ...]]

    def drop(self, group: str, share: float) -> float:
        """What the group costs when `share` of its channels is gone: never less than with fewer gone, straight lines
        between the ratios and beyond the last."""
        import numpy as np

        return float(np.interp(share, *self._curve(group)))

    def _curve(self, group: str) -> tuple[list[float], list[float]]:
        worst = list(itertools.accumulate((0.0, *self.drops[group]), max))
        slope = (worst[-1] - worst[-2]) / (self.ratios[-1] - (0.0, *self.ratios)[-2])
        return [0.0, *self.ratios, 1.0], [*worst, worst[-1] + slope * (1 - self.ratios[-1])]


@dataclass(frozen=True)
class Sample:
    """A validation picture with what a file found in it: told, as `3 circle, 1 star`, and drawn, a small JPEG."""

    picture: str
    found: str
    drawn: Artifact


@dataclass(frozen=True)
class LayerNoise:
    """What quantizing does to what one layer gives, over some training pictures: its signal's power over the noise's,
    in dB, None where there is no noise.

    `own_sqnr_db` is of the layer alone quantized, `sqnr_db` of all that has come together by then; one that is
    `kept_float` adds none of its own.
    """

    name: str
    sqnr_db: float | None
    own_sqnr_db: float | None
    kept_float: bool


@dataclass(frozen=True)
class Candidate:
    """A model file that could ship, with all that was measured on that very file; the unpruned FP32 has no change.

    `fault` says in one line why what it gives is of no use; such a file is never selected, but for the
    unpruned FP32 where nothing else is left.
    """

    name: str
    runtime: str
    quantization: str
    model: Artifact
    size_bytes: int
    footprint: Footprint
    accuracy: Accuracy
    latency: Latency
    accuracy_change: AccuracyChange | None = None
    fault: str | None = None
    classes: tuple[ClassChange, ...] = ()
    """Those that have objects, in the data set's order; none of the unpruned FP32."""
    samples: tuple[Sample, ...] = ()
    """The same pictures of all candidates; none of one with a fault."""
    layers: tuple[LayerNoise, ...] = ()
    """In the order they run in; only of an INT8 file in ONNX Runtime, without a fault."""


@dataclass(frozen=True)
class Rung:
    """One step down the ladder: what was pruned, and what fine-tuning made of it; rung 0 is the unpruned net.

    `target` was asked for, `reached` is what came of it, both as shares of the unpruned net in the schedule's unit;
    `trials` are there where it was searched by the clock; `channels`: what each group keeps, of how many; `undone`:
    what fine-tuning scored where that is measurably worse (95 %) and the net was kept as it had been, which `tuned` is.
    """

    rung: int
    target: float
    reached: float
    footprint: Footprint
    pruned: Accuracy
    tuned: Accuracy
    accepted: bool
    trials: tuple[Trial, ...] = ()
    channels: dict[str, tuple[int, int]] = field(default_factory=dict)
    undone: Accuracy | None = None


@dataclass(frozen=True)
class StageRecord:
    """What one stage did in one run: a line of `records.jsonl`.

    `seconds` is what it took this time, `made_in_seconds` what making its outputs took when they were made; `version`
    is the stage's own, `libraries` are those that it works with.
    """

    stage: str
    version: int
    libraries: dict[str, str]
    key: str
    label: str
    rung: int | None
    reused: bool
    seconds: float
    made_in_seconds: float
    finished: str
    inputs: Any
    outputs: Any


@dataclass(frozen=True)
class RunHeader:
    """What is known of a run before it starts."""

    id: str
    name: str
    spec: dict[str, Any]
    versions: dict[str, str]
    git: str | None
    command: str


@dataclass(frozen=True)
class RunReport:
    """A whole run, as `report.json` tells it.

    `stopped` is one that was ended early on purpose, since another of its search was ahead. `before_pruning` is what
    the net scored on its way to the first rung: `sparse`, after sparse training, and `swapped`, with other activations.
    """

    id: str
    name: str
    status: Literal["finished", "failed", "killed", "stopped"]
    seconds: float
    spec: dict[str, Any]
    versions: dict[str, str]
    git: str | None
    command: str
    error: str | None = None
    fingerprint: Fingerprint | None = None
    dataset: dict[str, Any] | None = None
    baseline_footprint: Footprint | None = None
    baseline: Accuracy | None = None
    before_pruning: dict[str, Accuracy] = field(default_factory=dict)
    rungs: tuple[Rung, ...] = ()
    checkpoints: dict[str, Artifact] = field(default_factory=dict)
    candidates: tuple[Candidate, ...] = ()
    selected: str | None = None
    why: str | None = None
