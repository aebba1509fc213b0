"""What the machine was doing while a run went on: looked at when the run tells of something, so that no thread wakes up
while something is timed, writes to a database beside its lock, or outlives the run."""

from __future__ import annotations

import time
from typing import Any

EVERY = 10.0
"""Seconds from one look to the next, at least."""


class Usage:
    """By MLflow's own names, which its page of system metrics shows: utilization since the last look, memory now; of
    all processes of the machine, not the run's alone."""

    def __init__(self) -> None:
        self._monitors = _monitors()
        self._look()  # what the processor did before is nobody's
        self._next = time.monotonic() + EVERY

    def values(self) -> dict[str, float]:
        """Empty where the last look is not long ago."""
        if time.monotonic() < self._next:
            return {}
        self._next = time.monotonic() + EVERY
        return self._look()

    def _look(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for monitor in self._monitors:
            monitor.collect_metrics()
            found |= {f"system/{name}": value for name, value in monitor.aggregate_metrics().items()}
            monitor.clear_metrics()
        return found


def _monitors() -> list[Any]:
    """Of the processor, and of NVIDIA's devices where there are, and nvidia-ml-py that knows them."""
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor

    try:
        return [CPUMonitor(), GPUMonitor()]
    except (ImportError, RuntimeError):  # what it raises where there are none
        return [CPUMonitor()]
