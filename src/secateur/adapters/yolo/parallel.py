"""Training on several devices at once: one process each, which this one starts, listens to and ends.

Ultralytics' own launcher is not used: it hands on trainer, settings and net alone, and deletes the folder where an
unfinished training goes on from.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO

import torch
from torch.distributed import TCPStore

from secateur.adapters.yolo import habits, ranks, worker
from secateur.adapters.yolo.devices import check_divides
from secateur.adapters.yolo.training import DivergedError, Task, Trained, pictures
from secateur.errors import BrokenOffError, SpecError, StageError
from secateur.ports import Watch
from secateur.results import Epoch

ERRORS = {kind.__name__: kind for kind in (DivergedError, SpecError, StageError)}


def complete(devices: tuple[str, ...], task: Task, watch: Watch) -> Trained:
    """One attempt, as `training.complete`; the batch is that of all devices together."""
    check_divides(f"{task.key}.batch", task.training.batch, devices)
    task.folder.mkdir(exist_ok=True)
    (task.folder / "results.csv").unlink(missing_ok=True)  # of a training that was killed: each process would delete it
    lesson = replace(task.lesson, data=pictures(task.lesson, task.folder), unlabelled=None)  # written once, not by each
    torch.save(replace(task, lesson=lesson), task.folder / worker.TASK)
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    with _workers(devices, task.folder, store.port) as told:
        _follow(told, len(devices), watch, task.folder)
    return torch.load(task.folder / worker.TRAINED, map_location="cpu", weights_only=False)  # written by `worker`


def _follow(told: IO[str], running: int, watch: Watch, folder: Path) -> None:
    """Hands on what the processes tell, until all have ended; raises the first failure, which causes the others'."""
    failure: Exception | None = None
    while running:
        what, values = json.loads(told.readline())
        if what == "batch":
            watch.batch(*values)
        elif what == "epoch":
            watch.epoch(Epoch(**values))
        elif what == "failed":
            failure = failure or _failure(values["kind"], values["line"])
        else:
            _check_end(values["rank"], values["code"], failure, folder)
            running -= 1


def _failure(kind: str, line: str) -> Exception:
    return ERRORS[kind](line) if kind in ERRORS else StageError(f"training failed: {kind}: {line}")


def _check_end(rank: int, code: int, failure: Exception | None, folder: Path) -> None:
    """Raises what was told, except where a process was killed: the others then only tell that they miss it."""
    if code < 0:
        name = signal.Signals(-code).name
        raise BrokenOffError(
            f"training broken off: {name} ended process {rank}; the same command goes on after the last whole epoch"
        )
    if code and not failure:
        said = (folder / f"worker-{rank}.log").read_text().splitlines() or [f"exit code {code}"]
        raise StageError(f"training failed: process {rank} ended: {said[-1]}")
    if failure:
        raise failure


@contextmanager
def _workers(devices: tuple[str, ...], folder: Path, port: int) -> Iterator[IO[str]]:
    """What they tell, and that they ended, in the order it happened in; none outlives the block."""
    read, write = os.pipe()
    started: list[subprocess.Popen[bytes]] = []
    listeners: list[threading.Thread] = []
    with os.fdopen(read) as told, os.fdopen(write, "wb", buffering=0) as telling:
        try:
            for rank, device in enumerate(devices):
                started.append(_start(rank, device, folder, _surroundings(rank, devices, port), telling))
                listeners.append(threading.Thread(target=_tell_its_end, args=(rank, started[-1], telling)))
                listeners[-1].start()
            yield told
        finally:
            for process in started:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # loader processes too
            for listener in listeners:
                listener.join()


def _start(
    rank: int, device: str, folder: Path, surroundings: dict[str, str], telling: IO[bytes]
) -> subprocess.Popen[bytes]:
    with (folder / f"worker-{rank}.log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", worker.__name__, str(folder), device], env=os.environ | surroundings,
            stdin=subprocess.PIPE, stdout=telling, stderr=log, start_new_session=True,
        )  # fmt: skip


def _surroundings(rank: int, devices: tuple[str, ...], port: int) -> dict[str, str]:
    who = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": len(devices), ranks.PORT: port}
    threads = {"OMP_NUM_THREADS": max(1, torch.get_num_threads() // len(devices))} if devices[0] == "cpu" else {}
    return {habits.LABELS: str(habits.label_caches())} | {key: str(value) for key, value in (who | threads).items()}


def _tell_its_end(rank: int, process: subprocess.Popen[bytes], telling: IO[bytes]) -> None:
    code = process.wait()
    telling.write(json.dumps(["ended", {"rank": rank, "code": code}]).encode() + b"\n")
