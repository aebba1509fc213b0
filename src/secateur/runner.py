"""Runs stages: each one's outputs come from the store where they are there already, and every sink hears of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from secateur import plugins
from secateur.ports import Sink, Tools
from secateur.results import Epoch, Rung, StageRecord
from secateur.store import Store, Stored, canonical

I = TypeVar("I")  # noqa: E741
O = TypeVar("O")  # noqa: E741

StageFunction = Callable[[I, Tools, Path], O]
"""`run` of a module of `stages`, which also says VERSION and LIBRARIES, and RESUMES where it goes on after a kill."""


@dataclass(frozen=True)
class Runner:
    """Call it with a stage's `run` and its inputs."""

    tools: Tools
    store: Store
    sinks: Sequence[Sink] = ()

    def __call__(self, stage: StageFunction[I, O], inputs: I, label: str, rung: int | None = None) -> O:
        name = stage.__module__.rpartition(".")[2]
        for sink in self.sinks:
            sink.stage_started(name, label)
        started = time.perf_counter()
        stored = self._stored(stage, name, inputs, self._tools(label, rung))
        record = _record(name, label, rung, inputs, stored, time.perf_counter() - started)
        for sink in self.sinks:
            sink.stage_finished(record)
        return stored.outputs

    def tell(self, rung: Rung) -> None:
        for sink in self.sinks:
            sink.rung_finished(rung)

    def _tools(self, label: str, rung: int | None) -> Tools:
        """Those whose trainings tell every sink of their epochs."""

        def tell(epoch: Epoch) -> None:
            for sink in self.sinks:
                sink.epoch_finished(label, rung, epoch)

        return replace(self.tools, epoch=tell)

    def _stored(self, stage: StageFunction[I, O], name: str, inputs: I, tools: Tools) -> Stored[O]:
        module = sys.modules[stage.__module__]
        of_parts = plugins.libraries(*vars(inputs).values())
        libraries = {library: version(library) for library in (*module.LIBRARIES, *of_parts)}
        outputs: type[O] = get_type_hints(stage)["return"]
        identity = [name, module.VERSION, libraries, inputs]
        resumes = getattr(module, "RESUMES", False)
        return self.store.get(name, identity, outputs, lambda out: stage(inputs, tools, out), resumes)


def _record(name: str, label: str, rung: int | None, inputs: Any, stored: Stored[Any], seconds: float) -> StageRecord:
    return StageRecord(
        stage=name,
        key=stored.key,
        label=label,
        rung=rung,
        reused=stored.reused,
        seconds=round(seconds, 3),
        made_in_seconds=round(stored.seconds, 3),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        inputs=canonical(inputs),
        outputs=canonical(stored.outputs),
    )
