"""Times model files on this device, each in fresh processes of its own, in turns.

Several sessions in one process disturb each other: the idle thread pools spin and steal from the one that is timed. So
in each round every file gets a new process, and the processes take turns of part of a second, while the others wait.
A device's speed drifts, so a speed-up is the ratio of what two files needed side by side, never of two averages.

    python -m secateur.edge.bench '{"model": …, "runtime": "onnxruntime", "fields": {}, "pictures": [], …}'
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryFile
from threading import Timer
from typing import IO, TYPE_CHECKING, Any, TypeVar

import numpy as np

from secateur import plugins
from secateur.errors import ExportError, SecateurError
from secateur.processor import usable_cores
from secateur.results import QUANTILES, EndToEnd, Interval, Latency, Percentiles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from secateur.ports import Progress, Runtime, Session
    from secateur.specs import Benchmark

    Floats = NDArray[np.float64]

Sample = TypeVar("Sample")

DRAWS = 2000  # of the bootstrap
STEADY = 0.02  # warming up ends when two windows differ by less
WINDOWS = 4  # of warming up, each `warmup_seconds` long, at most
TURNS = 5  # of each file in a round
WAKING = 0.05  # seconds at the beginning of a turn that do not count: caches are cold, others' pools still spin
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1"}
"""Of what is timed, as of `secateur predict`: numpy's threads would fight with the runtime's for the cores."""
PATIENCE = 900  # seconds until a process that does not answer is given up: some runtimes compile for minutes
STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Contender:
    """A model file and what runs it."""

    model: Path
    runtime: Runtime


@dataclass(frozen=True)
class Opened:
    """What a process says of the file that it opened."""

    load_seconds: float
    peak_memory_mb: float | None  # None where the system does not tell
    runtime_version: str
    threads: int
    input_shape: tuple[int, ...]


@dataclass(frozen=True)
class Turn:
    """What was timed of a file while it had its turn; all in milliseconds.

    `passes` are forward passes of a fixed input; `before`, `after` and `whole` have an entry a picture: letterboxing
    it, decoding what the net gives, and all of it, the forward pass included.
    """

    passes: tuple[float, ...]
    before: tuple[float, ...] = ()
    after: tuple[float, ...] = ()
    whole: tuple[float, ...] = ()


@dataclass(frozen=True)
class Timing:
    """A round of one file: a process of its own, and its turns."""

    opened: Opened
    turns: tuple[Turn, ...]


# ---- the parent: who is measured when, and what follows -----------------------------------------


def compare(
    contenders: dict[str, Contender], baseline: str, plan: Benchmark, progress: Progress, pictures: Sequence[Path] = ()
) -> dict[str, Latency]:
    """Latency of each file; speed-ups are over `baseline`, one of them; raises ExportError where one fails.

    `pictures` are what whole predictions are timed on, where there are some.
    """
    names, rounds = list(contenders), []
    progress(0, plan.rounds)
    for number in range(plan.rounds):
        rounds.append(_round(contenders, orders(names, number), plan, pictures))
        progress(number + 1, plan.rounds)
    timings = {name: [timed[name] for timed in rounds] for name in names}
    return {name: _latency(own, timings[baseline], contenders[name].runtime) for name, own in timings.items()}


def _round(
    contenders: dict[str, Contender], turns_of: list[list[str]], plan: Benchmark, pictures: Sequence[Path]
) -> dict[str, Timing]:
    """Each file in a new process; all are open before the first is timed."""
    names = turns_of[0]
    turns: dict[str, list[Turn]] = {name: [] for name in names}
    with ExitStack() as stack:
        opening = ((name, _process(contenders[name], plan.warmup_seconds, pictures)) for name in names)
        processes = {name: stack.enter_context(process) for name, process in opening}
        for name in itertools.chain(*turns_of):
            turns[name].append(processes[name].turn(plan.seconds / TURNS))
    return {name: Timing(processes[name].opened, tuple(turns[name])) for name in names}


class _Process:
    """A child that has opened a file, and times it whenever it is asked to."""

    def __init__(self, child: subprocess.Popen[str], model: Path, errors: IO[str]) -> None:
        self._child, self._model, self._errors = child, model, errors
        self.opened = Opened(**self._answer())

    def turn(self, seconds: float) -> Turn:
        """So many seconds of passes and, where there are pictures, half as many of predictions."""
        assert self._child.stdin
        with suppress(BrokenPipeError):  # a child that has died says why when it is asked for its answer
            self._child.stdin.write(f"{seconds}\n")
            self._child.stdin.flush()
        return Turn(**self._answer())

    def _answer(self) -> Any:
        assert self._child.stdout
        limit = Timer(PATIENCE, self._child.kill)
        limit.daemon = True  # an interrupt can come while it starts, and no end waits for it
        try:
            limit.start()
            line = self._child.stdout.readline()
        finally:
            limit.cancel()
        if not line:
            raise ExportError(f"measuring {self._model} failed: {self._last_words()}")
        return json.loads(line)

    def _last_words(self) -> str:
        code = self._child.wait()
        self._errors.seek(0)
        return self._errors.read().strip().rpartition("\n")[2] or f"exit code {code}"


@contextmanager
def _process(contender: Contender, warmup_seconds: float, pictures: Sequence[Path]) -> Iterator[_Process]:
    request = {
        "model": str(contender.model),
        "runtime": contender.runtime.name,
        "fields": asdict(contender.runtime),  # type: ignore[call-overload]  # every part is a dataclass
        "warmup_seconds": warmup_seconds,
        "pictures": [str(picture) for picture in pictures],
    }
    command = [sys.executable, "-P", "-m", "secateur.edge.bench", json.dumps(request)]
    with (
        TemporaryFile("w+") as errors,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=os.environ | ENVIRONMENT,
        ) as child,
    ):
        try:
            yield _Process(child, contender.model, errors)
        finally:
            child.kill()


def orders(names: list[str], number: int) -> list[list[str]]:
    """Who follows whom in each turn of a round: drawn anew, so that what a file leaves behind falls on all alike."""
    rng = np.random.default_rng(number)
    return [[names[at] for at in rng.permutation(len(names))] for _ in range(TURNS)]


def _latency(own: list[Timing], baseline: list[Timing], runtime: Runtime) -> Latency:
    opened = [timing.opened for timing in own]
    passes = _joined(own, "passes")
    batch, _, _, imgsz = opened[0].input_shape
    memory = [each.peak_memory_mb for each in opened if each.peak_memory_mb is not None]
    return Latency(
        ms=percentiles(passes),
        speedup=paired_speedup(own, baseline),
        rounds=len(own),
        runtime=runtime.name,
        runtime_version=opened[0].runtime_version,
        threads=opened[0].threads,
        imgsz=imgsz,
        batch=batch,
        images_per_second=1000 * batch * len(passes) / float(passes.sum()),
        load_seconds=float(np.median([each.load_seconds for each in opened])),
        peak_memory_mb=max(memory) if memory else None,
        end_to_end=_end_to_end(own, baseline) if own[0].turns[0].whole else None,
        quantiles=tuple(np.percentile(passes, QUANTILES).tolist()),
    )


def _end_to_end(own: list[Timing], baseline: list[Timing]) -> EndToEnd:
    return EndToEnd(
        preprocess_ms=percentiles(_joined(own, "before")),
        postprocess_ms=percentiles(_joined(own, "after")),
        ms=percentiles(_joined(own, "whole")),
        speedup=paired_speedup(own, baseline, "whole"),
    )


def _joined(timings: list[Timing], what: str) -> Floats:
    return np.concatenate([getattr(turn, what) for timing in timings for turn in timing.turns])


def percentiles(samples_ms: Floats) -> Percentiles:
    """p50, p90, p95 and p99 of one sample or more, linear between two of them."""
    p50, p90, p95, p99 = np.percentile(samples_ms, (50, 90, 95, 99)).tolist()
    return Percentiles(p50=p50, p90=p90, p95=p95, p99=p99)


def paired_speedup(own: list[Timing], baseline: list[Timing], what: str = "passes") -> Interval:
    """Median over all turns of baseline p50 / own p50; its interval redraws rounds, and turns within each round."""
    rng = np.random.default_rng(0)
    ratios = np.array([_ratios(slow, fast, what) for slow, fast in zip(baseline, own, strict=True)])  # (rounds, turns)
    rounds, turns = ratios.shape
    drawn = ratios[rng.integers(rounds, size=(DRAWS, rounds, 1)), rng.integers(turns, size=(DRAWS, rounds, turns))]
    low, high = np.percentile(np.median(drawn, axis=(1, 2)), (2.5, 97.5)).tolist()
    return Interval(median=float(np.median(ratios)), low=low, high=high)


def _ratios(slow: Timing, fast: Timing, what: str) -> list[float]:
    """Of each turn."""
    pairs = zip(slow.turns, fast.turns, strict=True)
    return [float(np.median(getattr(theirs, what)) / np.median(getattr(own, what))) for theirs, own in pairs]


# ---- the child: one model, one runtime, nothing else in the process -----------------------------


def main(argument: str) -> int:
    """Opens what the JSON asks for, prints an Opened as JSON, then a Turn for each line on stdin, which says how many
    seconds it is to take; an error is one line on stderr."""
    try:
        with _answers() as answer:
            _serve(**json.loads(argument), answer=answer)
    except SecateurError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _serve(
    model: str, runtime: str, fields: dict[str, Any], warmup_seconds: float, pictures: list[str],
    answer: Callable[[Opened | Turn], None],
) -> None:  # fmt: skip
    part: Runtime = plugins.load("runtime", runtime)(**fields)
    version = part.version()  # which imports the library
    started = time.perf_counter()
    session = part.open(Path(model))
    load_seconds = time.perf_counter() - started
    step = _step(session)
    _warm_up(step, warmup_seconds)
    answer(Opened(load_seconds, _peak_memory_mb(), version, part.threads or usable_cores(), session.input_shape))
    look = _look(session, pictures)
    look(warmup_seconds)
    for line in sys.stdin:
        _timed(step, WAKING)
        answer(Turn(tuple(_timed(step, float(line))), *look(float(line) / 2)))


@contextmanager
def _answers() -> Iterator[Callable[[Opened | Turn], None]]:
    """To stdout, which is kept for that: whatever a library says there goes to stderr."""
    with os.fdopen(os.dup(1), "w") as stdout:
        os.dup2(2, 1)
        yield lambda answer: print(json.dumps(asdict(answer)), file=stdout, flush=True)


def _step(session: Session) -> Callable[[], object]:
    picture = np.random.default_rng(0).random(session.input_shape, np.float32)
    return lambda: session.run(picture)


def _look(session: Session, pictures: list[str]) -> Callable[[float], list[tuple[float, ...]]]:
    """Times whole predictions for so many seconds: what comes before the pass, after it, and all; nothing where there
    are no pictures or the file takes several at once."""
    if not pictures or session.input_shape[0] > 1:
        return lambda seconds: []
    from secateur.edge.letterbox import read_picture
    from secateur.edge.predict import look
    from secateur.edge.predictor import Predictor

    predictor = Predictor(session)
    seen = itertools.cycle([(read_picture(Path(picture)), picture) for picture in pictures])

    def prediction() -> tuple[float, float, float]:
        ms = look(predictor, *next(seen)).ms
        return ms.preprocess, ms.postprocess, ms.preprocess + ms.network + ms.postprocess

    return lambda seconds: list(zip(*_repeated(prediction, seconds), strict=True))


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

    def pass_ms() -> float:
        started = time.perf_counter_ns()
        step()
        return (time.perf_counter_ns() - started) / 1e6

    return _repeated(pass_ms, seconds)


def _repeated(measure: Callable[[], Sample], seconds: float) -> list[Sample]:
    """Measured again and again, for as long as said; at least once."""
    samples: list[Sample] = []
    end = time.perf_counter() + seconds
    while not samples or time.perf_counter() < end:
        samples.append(measure())
    return samples


def _peak_memory_mb() -> float | None:
    """Of this process alone: getrusage's figure would begin with the parent's."""
    if not STATUS.exists():
        return None
    return next(int(line.split()[1]) / 1024 for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
