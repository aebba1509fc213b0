"""What Hydra's launchers call for each job of a sweep, in whichever process and on whichever machine they like."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from secateur import sweeps
from secateur.app import job as process
from secateur.app.composing import order_in
from secateur.app.running import is_done, objective, report_failure
from secateur.interrupts import EXIT_CODE, done_by

BASIC = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
CONSOLE = "console.log"
"""Where in its folder a job says what it does, when several do so at once."""


def run_job(config: DictConfig) -> float | None:
    """mAP50-95 of what the job would ship; None where it failed. The config is where Hydra saved it, in the job's
    folder, and so is all that comes of it."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    order = order_in(folder)
    if is_done(order, folder):
        _say(f"{_label(folder)}: finished before")
    elif HydraConfig.get().launcher._target_ == BASIC:
        _say(f"\n{_label(folder)}")
        do(process.__name__, folder, None, _started_in())
    elif not sweeps.is_interrupted(folder.parent):
        _do_aside(folder)
    return objective(sweeps.report_in(folder) or {})


def _do_aside(folder: Path) -> None:
    """Beside other jobs, in a process of the launcher's, which lives on for a while when the sweep is gone."""
    started, launcher = time.monotonic(), os.getppid()

    def is_over() -> bool:
        return sweeps.is_interrupted(folder.parent) or os.getppid() != launcher

    # an interrupt is no news to the launcher, which would end the jobs that are writing their records
    with (folder / CONSOLE).open("w") as output, suppress(KeyboardInterrupt):
        do(process.__name__, folder, output, _started_in(), is_over)
    if os.getppid() != launcher:
        os._exit(EXIT_CODE)  # nobody waits for what comes of it; joblib's processes would sit there for minutes
    _say(f"{_label(folder)}: {outcome(folder)} ({time.monotonic() - started:.0f} s)")


def _started_in() -> Path:
    return Path(HydraConfig.get().runtime.cwd)


def do(
    module: str,
    folder: Path,
    output: IO[str] | None,
    place: Path | None = None,
    asked_to_end: Callable[[], bool] = lambda: False,
) -> None:
    """What was ordered in the folder, by a process of that module; whatever becomes of it, the folder tells."""
    before, started = sweeps.report_in(folder), time.perf_counter()
    code = done_by([sys.executable, "-P", "-m", module, str(folder)], output, place, asked_to_end)
    if code not in (0, EXIT_CODE) and sweeps.report_in(folder) in (None, before):  # it could not tell itself
        report_failure(order_in(folder), folder, _cause(code), started)


def _cause(code: int) -> str:
    if code < 0:
        return f"its process was ended by signal {-code}" + ("; was there memory enough?" if code == -9 else "")
    if code == process.CANNOT_WRITE:
        return "its report could not be written; was there room on the disk?"
    return f"its process ended with code {code}"


def outcome(folder: Path) -> str:
    """Of what was done in the folder, in one sentence."""
    report = sweeps.report_in(folder)
    return report["headline"] if report else "broken off"


def _label(folder: Path) -> str:
    return sweeps.jobs_of(sweeps.read(folder.parent), folder.parent)[HydraConfig.get().job.num].label


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
