"""One of the processes that train a net together: `python -m secateur.adapters.yolo.worker <folder> <device>`.

Its standard input is a life line: when it closes, whoever started this process is gone. What it has to tell goes to its
standard output, as lines of JSON; what anyone prints goes to its standard error.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from secateur.adapters.yolo.habits import switch_off, trusts
from secateur.ports import Watch

log = logging.getLogger(__name__)

TASK, TRAINED = "task.pt", "trained.pt"

Tell = Callable[[str, Any], None]
"""Called with what is told, and its values."""


def main(folder: Path, device: str) -> None:
    """Does the task that lies in the folder, in step with the other processes; a failure is told in one line, and ends
    this one at once with 1."""
    tell = _teller()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        switch_off(Path(os.environ["YOLO_CONFIG_DIR"]), trusts())  # those of the door
        _work(folder, device, tell)
    except Exception as error:
        tell("failed", {"kind": type(error).__name__, "line": (str(error).splitlines() or [""])[0]})
        log.exception("training failed")
        os._exit(1)  # an orderly end would wait for the other processes


def _work(folder: Path, device: str, tell: Tell) -> None:
    import torch

    from secateur.adapters.yolo import ranks, training

    task = torch.load(folder / TASK, map_location="cpu", weights_only=False)  # written by `parallel`
    trained = training.complete(replace(task, device=device), _watch(tell) if ranks.leads() else _SILENT)
    if ranks.leads():
        torch.save(trained, folder / TRAINED)
    torch.distributed.destroy_process_group()


def _watch(tell: Tell) -> Watch:
    return Watch(lambda *at: tell("batch", at), lambda epoch: tell("epoch", asdict(epoch)))


_SILENT = Watch(lambda *at: None, lambda epoch: None)


def _teller() -> Tell:
    told = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return lambda what, values: print(json.dumps([what, values]), file=told)


def _end_with_parent() -> None:
    while os.read(0, 1):  # no sys.stdin, whose lock a forked loader process would inherit
        pass
    os.killpg(0, signal.SIGKILL)  # its loader processes too


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
