"""A sink: a run in MLflow while it goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.adapters.tracking.connection import one_line
from secateur.adapters.tracking.run import now, open_run
from secateur.reporting.summary import Setting, report_dict, rung_dict

if TYPE_CHECKING:
    from secateur.results import Epoch, Rung, RunReport, StageRecord

_log = logging.getLogger(__name__)


class MlflowSink:
    """One run in MLflow; once it is open, no failure of the tracking reaches the run."""

    def __init__(
        self,
        uri: str,
        experiment: str,
        run_name: str,
        params: Mapping[str, Setting],
        tags: Mapping[str, str],
        run_dir: Path,
    ) -> None:
        """Raises TrackingError where nothing answers at `uri`."""
        self._run = open_run(uri, experiment, run_name, params, tags, run_dir)
        self._run_dir = run_dir
        self.run_id = self._run.id

    def stage_started(self, stage: str, label: str) -> None:
        """Nothing: MLflow is told of what is done."""

    def stage_finished(self, record: StageRecord) -> None:
        """Logs `stage/<stage>_seconds`, and the curve of a training as far as it is not known yet."""
        self._attempt(self._run.log_stage, asdict(record))

    def epoch_finished(self, label: str, rung: int | None, epoch: Epoch) -> None:
        """Logs `train/…`, step by step."""
        self._attempt(self._run.log_epoch, label, rung, asdict(epoch), now())

    def rung_finished(self, rung: Rung) -> None:
        """Logs `rung/…`; rung 0, the baseline, may be handed in as soon as it is known."""
        self._attempt(self._run.log_rung, rung_dict(rung))

    def run_finished(self, report: RunReport) -> None:
        """Logs `final/…` and `candidate/…`, attaches the files of the run's folder and closes the run."""
        summary = report_dict(report, self._run_dir)
        self._attempt(self._run.log_results, summary)
        self._attempt(self._run.attach, self._run_dir)
        self._attempt(self._run.close, summary["run"]["status"], now())

    def _attempt(self, log: Callable[..., None], *values: Any) -> None:
        try:
            log(*values)
        except Exception as error:  # noqa: BLE001 - no server, disk or driver may cost hours of work
            line = one_line(error)
            _log.warning("MLflow did not take a result (%s); the records hold it: secateur replay brings it back", line)
