"""Commands that take little time, and what may happen to them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from experiments.chaos import Command

BRIEF = "imgsz=64 max_map_drop=null benchmark.rounds=2 benchmark.seconds=0.2 benchmark.warmup_seconds=0.1".split()
FEW = "dataset=shapes dataset.size=64 dataset.train=8 dataset.val=8".split()

PATIENCE_SECONDS = 30
AT_ONCE_SECONDS = 5  # on a machine that has much else to do


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def in_the_group(command: Command) -> None:
    """Ctrl-C, as a terminal does it."""
    os.killpg(command.process.pid, signal.SIGINT)


def by_number(command: Command) -> None:
    command.process.send_signal(signal.SIGINT)


def politely(command: Command) -> None:
    command.process.send_signal(signal.SIGTERM)


def words_of(process: psutil.Process) -> list[str]:
    """Those of the command that started it; none where it is gone."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@contextmanager
def mounted(place: Path, *how: str) -> Iterator[Path]:
    done = subprocess.run(["mount", *how, str(place)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounts nothing here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
