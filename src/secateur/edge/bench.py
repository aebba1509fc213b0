"""Times model files on this device, each measurement in a fresh process, alternated with the baseline's.

Several sessions in one process disturb each other: the idle thread pools spin and steal from the one that is timed. A
device's speed drifts, so a speed-up is the ratio of two measurements of one round, never of two averages.

    python -m secateur.edge.bench '{"model": …, "runtime": "onnxruntime", "fields": {}, "seconds": 5, …}'
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur import plugins
from secateur.errors import ExportError, SecateurError
from secateur.processor import usable_cores
from secateur.results import Interval, Latency, Percentiles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from secateur.ports import Progress, Runtime, Session

    Floats = NDArray[np.float64]

DRAWS = 2000  # of the bootstrap
STEADY = 0.02  # warming up ends when two windows differ by less
WINDOWS = 4  # of warming up, each `warmup_seconds` long, at most
STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Timing:
    """One measurement: a model file in one process of its own."""

    samples_ms: tuple[float, ...]
    load_seconds: float
    peak_memory_mb: float | None  # None where the system does not tell
    runtime_version: str
    threads: int
    imgsz: int

    @property
    def p50(self) -> float:
        return float(np.median(self.samples_ms))


# ---- the parent: who is measured when, and what follows -----------------------------------------


def compare(
    models: dict[str, Path],
    baseline: str,
    runtime: Runtime,
    rounds: int,
    seconds: float,
    warmup_seconds: float,
    progress: Progress,
) -> dict[str, Latency]:
    """Latency of each model; speed-ups are over `baseline`, one of `models`; raises ExportError where one fails."""
    timings: dict[str, list[Timing]] = {name: [] for name in models}
    turns = [name for turn in range(rounds) for name in _rotated(list(models), turn)]
    progress(0, len(turns))
    for done, name in enumerate(turns, start=1):
        timings[name].append(measure(models[name], runtime, seconds, warmup_seconds))
        progress(done, len(turns))
    return {name: _latency(own, timings[baseline], runtime) for name, own in timings.items()}


def measure(model: Path, runtime: Runtime, seconds: float, warmup_seconds: float) -> Timing:
    """One measurement in a fresh process; raises ExportError with that process's last words where it fails."""
    request = {
        "model": str(model),
        "runtime": runtime.name,
        "fields": asdict(runtime),  # type: ignore[call-overload]  # every part is a dataclass
        "seconds": seconds,
        "warmup_seconds": warmup_seconds,
    }
    command = [sys.executable, "-m", "secateur.edge.bench", json.dumps(request)]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    if child.returncode:
        raise ExportError(f"measuring {model} failed: {_last_line(child.stderr) or f'exit code {child.returncode}'}")
    return Timing(**json.loads(_last_line(child.stdout)))


def _rotated(names: list[str], turn: int) -> list[str]:
    start = turn % len(names)
    return names[start:] + names[:start]


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]


def _latency(own: list[Timing], baseline: list[Timing], runtime: Runtime) -> Latency:
    return Latency(
        ms=percentiles(np.concatenate([timing.samples_ms for timing in own])),
        speedup=Interval(1.0, 1.0, 1.0) if own is baseline else paired_speedup(own, baseline),
        rounds=len(own),
        runtime=runtime.name,
        runtime_version=own[0].runtime_version,
        threads=own[0].threads,
        imgsz=own[0].imgsz,
    )


def percentiles(samples_ms: Floats) -> Percentiles:
    p50, p90, p95, p99 = np.percentile(samples_ms, (50, 90, 95, 99)).tolist()
    return Percentiles(p50=p50, p90=p90, p95=p95, p99=p99)


def paired_speedup(own: list[Timing], baseline: list[Timing]) -> Interval:
    """Median over the rounds of baseline p50 / own p50; its interval redraws rounds, and samples within each round."""
    rng = np.random.default_rng(0)
    ratios = [slow.p50 / fast.p50 for slow, fast in zip(baseline, own, strict=True)]
    redrawn = np.stack([_redrawn_medians(t, rng) for t in baseline]) / np.stack([_redrawn_medians(t, rng) for t in own])
    rounds = rng.integers(len(own), size=(len(own), DRAWS))
    medians = np.median(np.take_along_axis(redrawn, rounds, axis=0), axis=0)
    low, high = np.percentile(medians, (2.5, 97.5)).tolist()
    return Interval(median=float(np.median(ratios)), low=low, high=high)


def _redrawn_medians(timing: Timing, rng: np.random.Generator) -> Floats:
    """(DRAWS,); medians of samples drawn with replacement: the middle one of n uniform ranks is Beta-distributed."""
    ordered = np.sort(timing.samples_ms)
    middle = (len(ordered) + 1) / 2
    return ordered[(rng.beta(middle, middle, DRAWS) * len(ordered)).astype(np.intp)]


# ---- the child: one model, one runtime, nothing else in the process -----------------------------


def main(argument: str) -> int:
    """Measures what the JSON asks for and prints a Timing as JSON; an error is one line on stderr."""
    try:
        timing = _time_model(**json.loads(argument))
    except SecateurError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(asdict(timing)))
    return 0


def _time_model(model: str, runtime: str, fields: dict[str, Any], seconds: float, warmup_seconds: float) -> Timing:
    part: Runtime = plugins.load("runtime", runtime)(**fields)
    started = time.perf_counter()
    session = part.open(Path(model))
    load_seconds = time.perf_counter() - started
    return Timing(
        samples_ms=tuple(_samples(session, seconds, warmup_seconds)),
        load_seconds=load_seconds,
        peak_memory_mb=_peak_memory_mb(),
        runtime_version=part.version(),
        threads=part.threads or usable_cores(),
        imgsz=session.input_shape[-1],
    )


def _samples(session: Session, seconds: float, warmup_seconds: float) -> list[float]:
    picture = np.random.default_rng(0).random(session.input_shape, np.float32)

    def step() -> object:
        return session.run(picture)

    _warm_up(step, warmup_seconds)
    return _timed(step, seconds)


def _warm_up(step: Callable[[], object], seconds: float) -> None:
    """Runs for `seconds`, and on by as much until the speed holds still or WINDOWS are over."""
    before = float(np.median(_timed(step, seconds)))
    for _ in range(WINDOWS - 1):
        now = float(np.median(_timed(step, seconds)))
        if abs(now / before - 1) < STEADY:
            return
        before = now


def _timed(step: Callable[[], object], seconds: float) -> list[float]:
    """Milliseconds of each step, for as long as said; at least one."""
    samples: list[float] = []
    end = time.perf_counter() + seconds
    while not samples or time.perf_counter() < end:
        started = time.perf_counter_ns()
        step()
        samples.append((time.perf_counter_ns() - started) / 1e6)
    return samples


def _peak_memory_mb() -> float | None:
    """Of this process alone: getrusage's figure would begin with the parent's."""
    if not STATUS.exists():
        return None
    return next(int(line.split()[1]) / 1024 for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
