"""A run with its results in a folder: what stands around the pipeline is wired here."""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from secateur import plugins, sweeps
from secateur.app.checking import PARTS, check_places, device_of, slots_of, to_spec
from secateur.errors import SecateurError, StoppedError, TrackingError
from secateur.fronts import chosen, main_accuracy
from secateur.interrupts import Interrupts, heeded
from secateur.results import Epoch, Rung, RunHeader, RunReport, StageRecord
from secateur.switches import DEBUG, TRUST, is_on, told, trust_option

if TYPE_CHECKING:
    from secateur.console import Screen
    from secateur.journal import Journal
    from secateur.ports import Sink, Tools
    from secateur.specs import RunSpec
    from secateur.store import Store

Ending = Literal["failed", "killed", "stopped"]

log = logging.getLogger(__name__)

INTERRUPTED = "interrupted; what it had made is in the store"

LIBRARIES = ("torch", "torch-pruning", "ultralytics", "onnx", "onnxruntime", "hydra-core", "mlflow")


@dataclass(frozen=True)
class Order:
    """A run as it was asked for: the composed config, and the overrides that it was composed of."""

    plain: dict[str, Any]
    overrides: tuple[str, ...]


def run_in_folder(order: Order, folder: Path, watchers: Sequence[Sink] = ()) -> RunReport:
    """One run with its results in `folder`; a failure is a report too, and so is an interrupt, which is raised on.

    The watchers hear of it after all others, and may end it with a StoppedError.
    """
    with heeded() as interrupts, interrupts.held_back():
        from rich.console import Console

        from secateur.console import Screen
        from secateur.journal import Journal

        spec, started = to_spec(order.plain), time.perf_counter()
        journal, header, screen = Journal(folder), header_of(spec, order, folder), Screen(Console())
        sinks: list[Sink] = [screen]

        def work() -> RunReport:
            journal.start_anew()
            check_places(spec)
            sinks.extend([*_tracking(order, header, folder), *watchers, _Swallowed(interrupts)])
            _point_latest(folder, Path(order.plain["outputs"]))
            return _run(spec, order.plain, header, screen, journal, [journal, *sinks])

        report, fault = _outcome(work, interrupts, lambda status, line: broken(status, line, header, started))
        report, unwritten = _told(report, journal, sinks, header, started)
    if error := fault or unwritten:
        raise error
    return report


def _outcome(
    work: Callable[[], RunReport], interrupts: Interrupts, broken: Callable[[Ending, str], RunReport]
) -> tuple[RunReport, BaseException | None]:
    """What came of the work, and what is to be raised once that is told."""
    fault: BaseException | None = None
    try:
        with interrupts.raised():
            return work(), None
    except StoppedError as stop:
        report = broken("stopped", str(stop))
    except SecateurError as error:
        if is_on(DEBUG):  # the report has no room for it
            sys.stderr.write(f"{told(error)}\n")
        report = broken("failed", str(error))
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - raised on, once it is told
        report, fault = broken("failed", _one_line(error)), error
    # whatever came of it: a process that died may have been the first to tell
    return (broken("killed", INTERRUPTED), KeyboardInterrupt()) if interrupts.asked else (report, fault)


def _told(
    report: RunReport, journal: Journal, sinks: Sequence[Sink], header: RunHeader, started: float
) -> tuple[RunReport, OSError | None]:
    """What all were told, though the disk may be full; where the journal could not write it, that the run failed."""
    unwritten: OSError | None = None
    for sink in (journal, *sinks):
        try:
            sink.run_finished(journal.with_rungs(report) if report.error else report)
        except OSError as error:
            unwritten = unwritten or error
            if sink is journal and not report.error:
                report = broken("failed", _one_line(error), header, started)
    return report, unwritten


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


@dataclass(frozen=True)
class _Swallowed:
    """A sink, the last: an interrupt that came where Python cannot raise it, as in a destructor, is raised here."""

    interrupts: Interrupts

    def stage_started(self, stage: str, label: str) -> None:
        self.interrupts.check()

    def stage_finished(self, record: StageRecord) -> None:
        self.interrupts.check()

    def epoch_finished(self, label: str, rung: int | None, epoch: Epoch) -> None:
        self.interrupts.check()

    def rung_finished(self, rung: Rung) -> None:
        self.interrupts.check()

    def run_finished(self, report: RunReport) -> None:
        """It ends anyway."""


def broken(status: Ending, line: str, header: RunHeader, started: float) -> RunReport:
    """The report of a run that did not finish: `line` says why; `started` is of the performance counter, s."""
    return RunReport(**vars(header), status=status, seconds=time.perf_counter() - started, error=line)


def _run(
    spec: RunSpec, plain: dict[str, Any], header: RunHeader, screen: Screen, journal: Journal, sinks: list[Sink]
) -> RunReport:
    """Wires the doors to the pipeline."""
    from secateur import pipeline

    tools, store = workshop(plain, screen)
    # while the store is there, `secateur store gc` leaves what it gave
    return journal.with_models(pipeline.run(spec, header, tools, store, sinks))


def workshop(plain: dict[str, Any], screen: Screen) -> tuple[Tools, Store]:
    """The doors to the foreign libraries, and the store; torch is first imported here."""
    from secateur.adapters.channel_pruning import ChannelPruner
    from secateur.adapters.yolo import open_yolo
    from secateur.machine import SharedMachine
    from secateur.ports import Tools
    from secateur.store import Store

    outputs = Path(plain["outputs"])
    yolo = open_yolo(device_of(plain["device"]), plain["workers"], outputs / "ultralytics", is_on(TRUST))
    tools = Tools(
        detector=yolo,
        pruner=ChannelPruner(),
        downloads=yolo,
        progress=screen.progress,
        machine=SharedMachine(of_this_machine()),
    )
    return tools, Store(outputs / "store")


@contextmanager
def on_a_free_device(order: Order) -> Iterator[Order]:
    """The order with one of its slots as its device, as long as it has that; as it is where it names none."""
    slots = slots_of(order.plain)
    if not slots:
        yield order
        return
    from secateur.machine import SharedMachine

    with SharedMachine(of_this_machine()).device(slots) as device:
        yield replace(order, plain=order.plain | {"device": device})


def of_this_machine() -> Path:
    """Where all jobs that this user has on this machine, of whatever sweep, meet; no other machine may see it."""
    return Path(tempfile.gettempdir()) / f"secateur-{os.getuid()}"


def _tracking(order: Order, header: RunHeader, folder: Path) -> list[Sink]:
    settings = order.plain["tracking"]
    if settings["name"] == "none":
        return []
    from secateur.adapters import tracking

    tracking.prepare(settings["uri"])
    return [tracking.MlflowSink(settings["uri"], settings["experiment"], header, folder)]


def tell_tracking_it_is_over(folder: Path, plain: dict[str, Any]) -> None:
    """Of a sweep or a search."""
    settings = plain["tracking"]
    if settings["name"] != "none":
        from secateur.adapters import tracking

        tracking.settle_group(folder, settings["uri"], settings["experiment"])


def header_of(spec: RunSpec, order: Order, folder: Path) -> RunHeader:
    """`id` is the folder's name; of a job or a trial it has the name of the sweep or the search before it."""
    return RunHeader(
        id=folder.name if folder.parent.name == "runs" else f"{folder.parent.name}/{folder.name}",
        name=spec.name,
        spec=order.plain,
        versions={"python": sys.version.split()[0], **_versions(spec)},
        git=_git_commit(),
        command=shlex.join(["secateur", "run", *trust_option(), *order.overrides]),
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
    fresh.unlink(missing_ok=True)  # of a process that was killed; in a container the same number comes again
    fresh.symlink_to(os.path.relpath(folder, outputs))
    fresh.replace(outputs / "latest")


def is_done(order: Order, folder: Path) -> bool:
    """Whether the folder holds what was ordered, as it would be made now; on which device does not matter."""
    report = sweeps.report_in(folder)
    return bool(
        report
        and report["run"]["status"] == "finished"
        and report["run"]["spec"] | {"device": order.plain["device"]} == order.plain
        and not sweeps.stale(folder)
    )


def report_failure(order: Order, folder: Path, line: str, started: float) -> None:
    """Tells of a run whose process, `started` by the performance counter, could not tell itself: in its folder, and in
    MLflow."""
    from secateur.journal import Journal

    header = header_of(to_spec(order.plain), order, folder)
    (folder / "records.jsonl").touch()  # of a process that died before its first stage
    Journal(folder).run_finished(broken("failed", line, header, started))
    settings = order.plain["tracking"]
    if settings["name"] != "none":
        from secateur.adapters import tracking

        try:
            tracking.replay(folder, settings["uri"], settings["experiment"])
        except TrackingError as error:
            log.warning("MLflow was not told of %s: %s", folder, error)


def objective(report: Mapping[str, Any]) -> float | None:
    """For sweepers: mAP50-95 of what would ship, by `report.json`."""
    return main_accuracy(chosen(report)) if report.get("selected") else None
