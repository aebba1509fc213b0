"""What an examination of a model file finds: frozen values, each with its unit in the name."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

About = Literal["slow", "wrong", "file"]


@dataclass(frozen=True)
class Finding:
    """Something to act on: why the file is slow, why what it gives is wrong, or what it lacks as a file."""

    check: str
    about: About
    text: str
    remedy: str


@dataclass(frozen=True)
class ModelFile:
    """What the file says of itself; a side of its shape that is not fixed stands as its name."""

    path: Path
    size_bytes: int
    opset: int
    producer: str
    input_shape: tuple[int | str, ...]
    task: str | None
    classes: int | None
    imgsz: int | None
    quantize_nodes: int  # QuantizeLinear, DequantizeLinear and the like, before the runtime fuses any

    @property
    def is_quantized(self) -> bool:
        """Whether it has any QuantizeLinear, DequantizeLinear or the like."""
        return self.quantize_nodes > 0


@dataclass(frozen=True)
class NodeTime:
    """One node of the graph as the runtime runs it: the median of its time over the passes."""

    name: str
    operator: str
    ms: float


@dataclass(frozen=True)
class OperatorTime:
    """All nodes of one operator; `share` is of all nodes' time."""

    operator: str
    count: int
    ms: float
    share: float


@dataclass(frozen=True)
class Profile:
    """Where the time of a pass goes, by the runtime's own profiler; `pass_ms` is the median of whole passes under it.

    What is between the nodes, and what the profiler itself costs, is in `pass_ms` and in no node.
    """

    runtime: str
    runtime_version: str
    threads: int
    passes: int
    pass_ms: float
    nodes: tuple[NodeTime, ...]

    @property
    def nodes_ms(self) -> float:
        """Of all nodes: the sum of their medians."""
        return sum(node.ms for node in self.nodes)

    def share(self, ms: float) -> float:
        """Of all nodes' time."""
        return ms / self.nodes_ms if self.nodes_ms else 0.0

    def ms_of(self, names: set[str]) -> float:
        """The sum over the nodes of these names."""
        return sum(node.ms for node in self.nodes if node.name in names)

    def operators(self) -> tuple[OperatorTime, ...]:
        """The slowest first."""
        times: dict[str, list[float]] = defaultdict(list)
        for node in self.nodes:
            times[node.operator].append(node.ms)
        totals = [OperatorTime(name, len(ms), sum(ms), self.share(sum(ms))) for name, ms in times.items()]
        return tuple(sorted(totals, key=lambda total: -total.ms))


@dataclass(frozen=True)
class Fallback:
    """What of one kind runs in float between a DequantizeLinear and a QuantizeLinear; a SiLU counts as one."""

    operator: str
    count: int
    ms: float
    share: float


@dataclass(frozen=True)
class Conversions:
    """QuantizeLinear and DequantizeLinear nodes that still run, and the float islands that they stand around.

    `islands` are connected float nodes between quantized ones; what is float behind the last quantized node is none.
    """

    count: int
    ms: float
    share: float
    islands: int
    fallbacks: tuple[Fallback, ...]


@dataclass(frozen=True)
class TensorRange:
    """A quantized tensor that its 8 bits do not hold; what was seen is None where no pictures were looked at.

    `low` and `high` are the ends that its scale and zero point can tell, `step` the difference of two levels.
    """

    tensor: str
    low: float
    high: float
    step: float
    problem: str
    seen_low: float | None = None
    seen_high: float | None = None
    clipped_share: float | None = None


@dataclass(frozen=True)
class OutputCheck:
    """One output over all the pictures; `fault` says why it is of no use, None where it is fine."""

    name: str
    shape: tuple[int, ...]
    low: float
    high: float
    not_finite_share: float
    fault: str | None


@dataclass(frozen=True)
class Examination:
    """All of it; `pictures` were looked at, which are drawn ones where `data` is None."""

    file: ModelFile
    data: Path | None
    pictures: int
    flags: tuple[str, ...]
    profile: Profile
    conversions: Conversions
    ranges: tuple[TensorRange, ...]
    outputs: tuple[OutputCheck, ...]
    findings: tuple[Finding, ...]
