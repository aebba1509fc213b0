"""A run with its results in a folder: what stands around the pipeline is wired here."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur import plugins
from secateur.app.checking import PARTS, check_places, device_of, to_spec
from secateur.errors import SecateurError
from secateur.results import RunHeader, RunReport

if TYPE_CHECKING:
    from rich.console import Console

    from secateur.console import Screen
    from secateur.ports import Sink, Tools
    from secateur.specs import RunSpec
    from secateur.store import Store

LIBRARIES = ("torch", "torch-pruning", "ultralytics", "onnx", "onnxruntime", "hydra-core", "mlflow")


@dataclass(frozen=True)
class Order:
    """A run as it was asked for: the composed config, and the overrides and the study that it was composed of."""

    plain: dict[str, Any]
    overrides: tuple[str, ...]
    study: str | None


def run_in_folder(order: Order, folder: Path) -> RunReport:
    """One run with its results in `folder`; a failure is a report too."""
    from rich.console import Console

    from secateur.console import Screen
    from secateur.journal import Journal

    spec, started = to_spec(order.plain), time.perf_counter()
    journal, header = Journal(folder), _header(spec, order, folder)
    screen = Screen(Console())
    sinks: list[Sink] = [journal, screen]
    try:
        check_places(spec)
        sinks.extend(_tracking(order, header, folder))
        _point_latest(folder, Path(order.plain["outputs"]))
        report = journal.with_models(_run(spec, order.plain, header, screen, sinks))
    except SecateurError as error:
        report = journal.with_rungs(_failed(header, str(error), started))
    except (Exception, KeyboardInterrupt) as error:
        report = journal.with_rungs(_failed(header, _told(error), started))
        for sink in sinks:
            sink.run_finished(report)
        raise
    for sink in sinks:
        sink.run_finished(report)
    if not report.error:
        _say_where(screen.console, folder)
    return report


def _run(spec: RunSpec, plain: dict[str, Any], header: RunHeader, screen: Screen, sinks: list[Sink]) -> RunReport:
    """Wires the doors to the pipeline."""
    from secateur import pipeline

    tools, store = workshop(plain, screen)
    return pipeline.run(spec, header, tools, store, sinks)


def workshop(plain: dict[str, Any], screen: Screen) -> tuple[Tools, Store]:
    """The doors to the foreign libraries, and the store; torch is first imported here."""
    from secateur.adapters.channel_pruning import ChannelPruner
    from secateur.adapters.yolo import open_yolo
    from secateur.ports import Tools
    from secateur.store import Store

    outputs = Path(plain["outputs"])
    yolo = open_yolo(device_of(plain["device"]), plain["workers"], outputs / "ultralytics")
    tools = Tools(detector=yolo, pruner=ChannelPruner(), downloads=yolo, progress=screen.progress)
    return tools, Store(outputs / "store")


def _tracking(order: Order, header: RunHeader, folder: Path) -> list[Sink]:
    settings = order.plain["tracking"]
    if settings["name"] == "none":
        return []
    from secateur.adapters import tracking
    from secateur.reporting.summary import flatten

    tracking.prepare(settings["uri"])
    groups = {"study": order.study, "sweep": header.id.rpartition("/")[0]}
    tags = {"command": header.command, **header.versions, **{k: v for k, v in groups.items() if v}}
    return [
        tracking.MlflowSink(settings["uri"], settings["experiment"], header.name, flatten(header.spec), tags, folder)
    ]


def _header(spec: RunSpec, order: Order, folder: Path) -> RunHeader:
    return RunHeader(
        id=folder.name if folder.parent.name == "runs" else f"{folder.parent.name}/{folder.name}",
        name=spec.name,
        spec=order.plain,
        versions={"python": sys.version.split()[0], **_versions(spec)},
        git=_git_commit(),
        command=shlex.join(["secateur", "run", *order.overrides]),
    )


def _versions(spec: RunSpec) -> dict[str, str]:
    found = {}
    for library in ("secateur", *LIBRARIES, *plugins.libraries(*(getattr(spec, kind) for kind in PARTS))):
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def _git_commit() -> str | None:
    asked = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or None


def _point_latest(folder: Path, outputs: Path) -> None:
    """outputs/latest -> the newest run, swapped in one step."""
    fresh = outputs / f".latest-{os.getpid()}"
    fresh.symlink_to(os.path.relpath(folder, outputs))
    fresh.replace(outputs / "latest")


def _told(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; the same command goes on where it was"
    return f"{type(error).__name__}: {error}"


def _failed(header: RunHeader, line: str, started: float) -> RunReport:
    return RunReport(**vars(header), status="failed", seconds=time.perf_counter() - started, error=line)


def objective(report: RunReport) -> float | None:
    """For sweepers: mAP50-95 of what would ship."""
    return next((c.accuracy.main for c in report.candidates if c.name == report.selected), None)


def _say_where(console: Console, folder: Path) -> None:
    where = os.path.relpath(folder)
    console.print(
        f"\nReport   {where}/report.html\nModels   {where}/models/\nRecords  {where}/records.jsonl\n\n"
        "Next     make ui                                    this run in MLflow\n"
        '         make run ARGS="schedule.target=0.45"       prune more; what is done already is not done again\n'
        "         .venv/bin/secateur bundle                  what ships, packed for the device\n"
        '         make run ARGS="+study=finetuned model.weights=best.pt dataset.root=…"   your own net and pictures',
        highlight=False, soft_wrap=True,
    )  # fmt: skip
