"""A run that is killed at drawn moments and started again each time: what is it worth in the end?

`disturbed` starts the same command until it was killed so often, then once more; `differences` holds what came of it
against a run that nobody disturbed. For `make bench ARGS=chaos` and for the tests, which kill less often.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from secateur.records import records_in

SECATEUR = str(Path(sys.executable).with_name("secateur"))
PATIENCE_SECONDS = 600
GONE_SECONDS = 20
"""Until what a killed process had started must be gone: Torch's loader processes look for it every five."""

MARK = "SECATEUR_CHAOS"

TIMED = (
    "latency_ms", "latency_quantiles_ms", "speedup", "images_per_second", "load_seconds", "peak_memory_mb",
    "preprocess_ms", "postprocess_ms", "end_to_end_ms", "end_to_end_speedup",
)  # fmt: skip
"""What is measured with the clock, of each candidate."""

CHOSEN = ("headline", "selected", "why")
"""What follows from the latencies: which candidate ships."""

OF_THIS_RUN = ("id", "seconds", "command")


@dataclass(frozen=True)
class Moment:
    """So many seconds after so many stages were recorded."""

    records: int
    seconds: float


@dataclass
class Command:
    """A command whose processes can be told from all others."""

    arguments: Sequence[str]
    outputs: Path
    name: str = "run"
    before: Sequence[str] = ()
    """What starts it, such as faketime."""

    def __post_init__(self) -> None:
        self.mark = uuid.uuid4().hex
        self.found = set(self.folders())
        words = [*self.before, SECATEUR, self.name, *self.arguments, f"outputs={self.outputs}"]
        self.process = subprocess.Popen(
            words, env=os.environ | {MARK: self.mark}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            process_group=0,
        )  # fmt: skip

    def folders(self) -> list[Path]:
        """Of all runs, and of all jobs of sweeps, that there are."""
        return sorted([*self.outputs.glob("runs/*"), *self.outputs.glob("sweeps/*/[0-9]*")])

    @property
    def recorded(self) -> int:
        """Stages, of all that this command did."""
        return len(self.stages)

    @property
    def stages(self) -> list[tuple[str, str]]:
        """Those recorded, each with its label."""
        fresh = [folder for folder in self.folders() if folder not in self.found]
        return [(record["stage"], record["label"]) for folder in fresh for record in records_in(folder)]

    def wait_until(self, condition: Callable[[], bool]) -> bool:
        """Whether it became true before the command ended."""
        end = time.monotonic() + PATIENCE_SECONDS
        while self.process.poll() is None:
            if condition():
                return True
            if time.monotonic() > end:
                self.process.kill()
                raise TimeoutError(f"secateur {self.name} neither came so far nor ended in {PATIENCE_SECONDS} s")
            time.sleep(0.02)
        return False

    def end(self) -> str:
        """Waits for it; what it said on stderr."""
        return self.process.communicate(timeout=PATIENCE_SECONDS)[1]

    def survivors(self) -> list[str]:
        """The commands of the processes that it started and that do not end by themselves."""
        end = time.monotonic() + GONE_SECONDS
        while (left := list(_marked(self.mark))) and time.monotonic() < end:
            time.sleep(0.05)
        return [" ".join(words) for words in left]


def _marked(mark: str) -> Iterator[list[str]]:
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                yield process.cmdline()
        except psutil.Error:  # gone, or somebody else's
            continue


def report(folder: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return told


def moments(undisturbed: Sequence[float], around: float, kills: int, seed: int) -> list[Moment]:
    """Each step as likely as any other, and in it any moment; each further than the one before, so that all of a run
    is gone through. `undisturbed` are the seconds of each stage, `around` those before the first and after the last."""
    steps = [around + undisturbed[0], *undisturbed[1:], around]
    drawn = random.Random(seed)
    at = sorted(drawn.randrange(len(steps)) for _ in range(kills))
    return [Moment(step, drawn.uniform(0, steps[step])) for step in at]


def killed(start: Callable[[], Command], moment: Moment) -> bool:
    """Whether the command was killed before it ended; raises where a process of it lives on."""
    command = start()
    if not command.wait_until(lambda: command.recorded >= moment.records):
        return _ended(command)
    deadline = time.monotonic() + moment.seconds
    if not command.wait_until(lambda: time.monotonic() >= deadline):
        return _ended(command)
    command.process.kill()
    command.process.communicate()
    if left := command.survivors():
        raise RuntimeError(f"killed at {moment}, it left {left}")
    return True


def _ended(command: Command) -> bool:
    said = command.end()
    if command.process.returncode:
        raise RuntimeError(f"started again, it ended with {command.process.returncode}: {said}")
    return False


def disturbed(start: Callable[[], Command], at: Sequence[Moment]) -> int:
    """Kills the command at each moment, and lets it end at last; how often it was killed."""
    kills = sum(killed(start, moment) for moment in at)
    _ended(start())
    return kills


def differences(one: Path, other: Path) -> list[str]:
    """What two runs' reports and records do not have in common, but for times and ids."""
    return list(_differing("report", _comparable(one), _comparable(other)))


def _comparable(folder: Path) -> dict[str, Any]:
    told = {key: value for key, value in report(folder).items() if key not in CHOSEN}
    candidates = [{k: v for k, v in candidate.items() if k not in TIMED} for candidate in told["candidates"]]
    run = {key: value for key, value in told["run"].items() if key not in OF_THIS_RUN}
    run["spec"] = run["spec"] | {"outputs": None, "tracking": None}  # each has a folder, and a database, of its own
    made = [(record["stage"], record["label"], record["rung"], record["key"]) for record in records_in(folder)]
    return told | {"candidates": candidates, "run": run, "records": made}


def _differing(where: str, one: Any, other: Any) -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            yield from _differing(f"{where}.{key}", one.get(key), other.get(key))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from _differing(f"{where}[{number}]", left, right)
    elif one != other:
        yield f"{where}: {one!r} or {other!r}"
