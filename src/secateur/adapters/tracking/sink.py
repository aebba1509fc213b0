"""A sink: a run in MLflow while it goes on."""

from __future__ import annotations

import logging
import shlex
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.adapters.tracking.connection import alone, one_line, shown, told_in_one_line
from secateur.adapters.tracking.replaying import replay
from secateur.adapters.tracking.run import now, open_run
from secateur.adapters.tracking.usage import Usage
from secateur.reporting.summary import report_dict, rung_dict

if TYPE_CHECKING:
    from secateur.results import Epoch, Rung, RunHeader, RunReport, StageRecord

_log = logging.getLogger(__name__)


_PAUSE = 30.0
"""Seconds without a further try after the first failure; each later one doubles them, so that a run of hours waits some
ten times for a server that is gone, not at every epoch."""


class MlflowSink:
    """One run in MLflow; once it is open, no failure of the tracking reaches the run. What MLflow did not take is
    brought in when the run ends, from its folder, as by `secateur replay`."""

    def __init__(self, uri: str, experiment: str, header: RunHeader, run_dir: Path) -> None:
        """Takes the place of what MLflow has of this folder, such as a run that was killed in it; raises TrackingError
        where nothing answers at `uri`."""
        self._run = open_run(uri, experiment, asdict(header), run_dir, now())
        with told_in_one_line(uri):
            self._run.take_the_place(run_dir)
            if self._run.parent:
                self._run.parent.go_on()
        self._uri, self._run_dir = uri, run_dir
        self._replay = partial(replay, run_dir, uri, experiment)
        command = ["secateur", "replay", str(run_dir), "--uri", shown(uri), "--experiment", experiment]
        self._by_hand = shlex.join(command)
        self._missed = False
        self._pause, self._quiet_until = _PAUSE, 0.0
        self.run_id = self._run.id
        self._usage = Usage()

    def stage_started(self, stage: str, label: str) -> None:
        """Nothing: MLflow is told of what is done."""

    def stage_finished(self, record: StageRecord) -> None:
        """Logs `stage/<stage>_seconds`, and the curve of a training as far as it is not known yet."""
        self._attempt(self._run.log_stage, asdict(record))
        self._attempt(self._log_usage)

    def epoch_finished(self, label: str, rung: int | None, epoch: Epoch) -> None:
        """Logs `train/…`, step by step."""
        self._attempt(self._run.log_epoch, label, rung, asdict(epoch), now())
        self._attempt(self._log_usage)

    def rung_finished(self, rung: Rung) -> None:
        """Logs `rung/…`; rung 0, the baseline, may be handed in as soon as it is known."""
        self._attempt(self._run.log_rung, rung_dict(rung), now())

    def run_finished(self, report: RunReport) -> None:
        """Logs `final/…` and `candidate/…`, attaches the files of the run's folder and closes the run."""
        summary, end = report_dict(report, self._run_dir), now()
        self._attempt(self._run.log_results, summary, end)
        self._attempt(self._run.attach, self._run_dir)
        self._attempt(self._run.close, summary["run"]["status"], end)
        self._attempt(self._run.settle, end)
        if self._missed:
            self._catch_up()

    def _log_usage(self) -> None:
        """`system/…`: of live runs only, as no record tells of it."""
        if values := self._usage.values():
            self._run.log_usage(values, now())

    def _attempt(self, log: Callable[..., None], *values: Any) -> None:
        if time.monotonic() < self._quiet_until:
            return
        try:
            with alone(self._uri):
                log(*values)
        except Exception as error:  # noqa: BLE001 - no server, disk or driver may cost hours of work
            if not self._missed:
                _log.warning("MLflow did not take a result (%s); the run goes on, its end tries again", one_line(error))
            self._missed = True
            self._quiet_until = time.monotonic() + self._pause
            self._pause *= 2

    def _catch_up(self) -> None:
        try:
            self.run_id = self._replay()
        except Exception as error:  # noqa: BLE001 - as above
            line = one_line(error)
            _log.warning("MLflow did not take this run (%s); its records hold it: %s", line, self._by_hand)
