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
"""`run` of a module of `stages`, which also says VERSION and LIBRARIES, RESUMES where it goes on after a kill, and with
`timed(inputs)` whether it takes the clock."""


@dataclass(frozen=True)
class Runner:
    """Call it with a stage's `run` and its inputs."""

    tools: Tools
    store: Store
    sinks: Sequence[Sink] = ()

    def __call__(self, stage: StageFunction[I, O], inputs: I, label: str, rung: int | None = None) -> O:
        """What the stage makes of the inputs, or what the store has of it; raises what the stage raises, and StageError
        where the store's disk refuses."""
        maker = _maker(stage, inputs)
        for sink in self.sinks:
            sink.stage_started(maker.stage, label)
        started = time.perf_counter()
        stored = self._stored(stage, maker, inputs, self._tools(label, rung))
        record = _record(maker, label, rung, inputs, stored, time.perf_counter() - started)
        for sink in self.sinks:
            sink.stage_finished(record)
        return stored.outputs

    def tell(self, rung: Rung) -> None:
        """Tells every sink that a rung is scored."""
        for sink in self.sinks:
            sink.rung_finished(rung)

    def _tools(self, label: str, rung: int | None) -> Tools:
        """Those whose trainings tell every sink of their epochs."""

        def tell(epoch: Epoch) -> None:
            for sink in self.sinks:
                sink.epoch_finished(label, rung, epoch)

        return replace(self.tools, epoch=tell)

    def _stored(self, stage: StageFunction[I, O], maker: _Maker, inputs: I, tools: Tools) -> Stored[O]:
        outputs: type[O] = get_type_hints(stage)["return"]
        identity = [maker.stage, maker.version, maker.libraries, inputs]
        turn = tools.machine.alone if maker.timed else tools.machine.shared
        return self.store.get(
            maker.stage, identity, outputs, lambda out: stage(inputs, tools, out), maker.resumes, turn
        )


@dataclass(frozen=True)
class _Maker:
    """What makes a stage's result, besides its inputs."""

    stage: str
    version: int
    libraries: dict[str, str]
    resumes: bool
    timed: bool


def _maker(stage: StageFunction[I, O], inputs: I) -> _Maker:
    module = sys.modules[stage.__module__]
    libraries = (*module.LIBRARIES, *plugins.libraries(*vars(inputs).values()))
    return _Maker(
        stage.__module__.rpartition(".")[2],
        module.VERSION,
        {library: version(library) for library in libraries},
        getattr(module, "RESUMES", False),
        hasattr(module, "timed") and module.timed(inputs),
    )


def _record(
    maker: _Maker, label: str, rung: int | None, inputs: Any, stored: Stored[Any], seconds: float
) -> StageRecord:
    return StageRecord(
        stage=maker.stage,
        version=maker.version,
        libraries=maker.libraries,
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
