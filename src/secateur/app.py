"""From the command line to a run: compose, check, wire, run. The only file that knows hydra and omegaconf."""

from __future__ import annotations

import errno
import logging
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from datetime import datetime
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import hydra
import msgspec
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, MissingConfigException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from secateur import plugins
from secateur.adapters.yolo import devices
from secateur.errors import SecateurError, SpecError, StageError
from secateur.results import RunHeader, RunReport
from secateur.specs import (
    Activation,
    Benchmark,
    Distillation,
    Evidence,
    Export,
    Model,
    Probes,
    RunSpec,
    Scope,
    Sparsity,
    Training,
)

if TYPE_CHECKING:
    from rich.console import Console

    from secateur.console import Screen
    from secateur.ports import Sink, Tools
    from secateur.store import Store

PARTS = ("dataset", "importance", "schedule", "healing", "quantization", "runtime")
VALUES: dict[str, Any] = {
    "name": str,
    "model": Model,
    "evidence": Evidence,
    "scope": Scope,
    "sensitivity": Probes,
    "sparsity": Sparsity | None,
    "activation": Activation,
    "finetune": Training,
    "distillation": Distillation,
    "max_map_drop": float | None,
    "patience": int,
    "export": Export,
    "benchmark": Benchmark,
    "imgsz": int,
    "seed": int,
}
SETTINGS: dict[str, Any] = {
    "device": str | int | list[str | int],
    "workers": int,
    "outputs": str,
    "tracking": dict[str, str],
}
LIBRARIES = ("torch", "torch-pruning", "ultralytics", "onnx", "onnxruntime", "hydra-core", "mlflow")

CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.ENOTDIR)

log = logging.getLogger(__name__)


def shipped(folder: str) -> Path:
    """`conf` or `experiments`: inside the installed package, or at the top of a checkout."""
    package = Path(__file__).parent
    return package / folder if (package / folder).is_dir() else package.parents[1] / folder


class StudySearchPath(SearchPathPlugin):
    """Makes experiments/study/ a config group."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append("secateur", f"file://{shipped('experiments')}")


def main(arguments: list[str]) -> int:
    """Runs what the Hydra overrides ask for; 0, or 2 where a run could not be done."""
    Plugins.instance().register(StudySearchPath)
    if not any(argument.startswith("-") for argument in arguments):
        check(arguments)  # before Hydra makes a folder for the run
    failures: list[str] = []

    @hydra.main(version_base="1.3", config_path=str(shipped("conf")), config_name="config")
    def job(config: DictConfig) -> float | None:
        try:
            with _in_one_line():
                report = run_in_folder(config, Path(HydraConfig.get().runtime.output_dir))
        except SecateurError as error:  # one job of a sweep; the others go on
            failures.append(str(error))
            return None
        failures.extend([report.error] if report.error else [])
        return _objective(report)

    with _as_command(["secateur run", *arguments]), _in_one_line():
        job()
    for line in failures:
        print_error(line)
    return 2 if failures else 0


def check(overrides: list[str]) -> RunSpec:
    """The run that the overrides ask for, without starting it; raises SpecError in one line."""
    spec = to_spec(_composed(overrides))
    _check_places(spec)
    return spec


def sensitivity(overrides: list[str]) -> int:
    """Measures what each group of channels costs alone, and writes it as a table and a page; 0, or 2 on a failure."""
    from rich.console import Console

    from secateur import pipeline
    from secateur.console import Screen
    from secateur.journal import Journal
    from secateur.reporting import sensitivity as pages

    plain = _composed(overrides)
    spec = to_spec(plain)
    _check_places(spec)
    folder = Path(plain["outputs"]) / "sensitivity" / f"{datetime.now():%Y%m%d-%H%M%S-%f}_{spec.name}"
    screen = Screen(Console())
    with _in_one_line(), _unless_empty(folder):
        tools, store = _workshop(plain, screen)
        found = pipeline.sensitivities(spec, tools, store, [Journal(folder), screen])
        (folder / "sensitivity.csv").write_text(pages.to_csv(found))
        (folder / "sensitivity.html").write_text(pages.page(found, _sensitivity_facts(plain, overrides)))
    screen.console.print(pages.table(found, limit=20))
    _say_where_sensitivity(screen.console, folder)
    return 0


@contextmanager
def _unless_empty(folder: Path) -> Iterator[None]:
    """Makes the folder; a failure that leaves nothing in it leaves no folder either."""
    folder.mkdir(parents=True)
    try:
        yield
    finally:
        if not any(folder.iterdir()):
            folder.rmdir()


def _composed(overrides: list[str]) -> dict[str, Any]:
    Plugins.instance().register(StudySearchPath)
    with _in_one_line(), hydra.initialize_config_dir(str(shipped("conf")), version_base="1.3"):
        return _plain(_compose(overrides))


def _compose(overrides: list[str]) -> DictConfig:
    try:
        return hydra.compose("config", overrides=overrides)
    except ValueError as error:  # Hydra's own for `schedule=null`
        raise SpecError(_one_line(error)) from error


def run_in_folder(config: DictConfig, folder: Path) -> RunReport:
    """One run with its results in `folder`; a failure is a report too."""
    from rich.console import Console

    from secateur.console import Screen
    from secateur.journal import Journal

    plain = _plain(config)
    spec, started = to_spec(plain), time.perf_counter()
    journal, header = Journal(folder), _header(spec, plain, folder)
    screen = Screen(Console())
    sinks: list[Sink] = [journal, screen]
    try:
        _check_places(spec)
        sinks.extend(_tracking(plain, header, folder))
        _point_latest(folder, Path(plain["outputs"]))
        report = journal.with_models(_run(spec, plain, header, screen, sinks))
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

    tools, store = _workshop(plain, screen)
    return pipeline.run(spec, header, tools, store, sinks)


def _workshop(plain: dict[str, Any], screen: Screen) -> tuple[Tools, Store]:
    """The doors to the foreign libraries, and the store; torch is first imported here."""
    from secateur.adapters.channel_pruning import ChannelPruner
    from secateur.adapters.yolo import open_yolo
    from secateur.ports import Tools
    from secateur.store import Store

    outputs = Path(plain["outputs"])
    yolo = open_yolo(_device(plain["device"]), plain["workers"], outputs / "ultralytics")
    tools = Tools(detector=yolo, pruner=ChannelPruner(), downloads=yolo, progress=screen.progress)
    return tools, Store(outputs / "store")


def _tracking(plain: dict[str, Any], header: RunHeader, folder: Path) -> list[Sink]:
    settings = plain["tracking"]
    if settings["name"] == "none":
        return []
    from secateur.adapters import tracking
    from secateur.reporting.summary import flatten

    tracking.prepare(settings["uri"])
    groups = {"study": _study(), "sweep": header.id.rpartition("/")[0]}
    tags = {"command": header.command, **header.versions, **{k: v for k, v in groups.items() if v}}
    return [
        tracking.MlflowSink(settings["uri"], settings["experiment"], header.name, flatten(header.spec), tags, folder)
    ]


def _study() -> str | None:
    choice: str | None = HydraConfig.get().runtime.choices.get("study")
    return choice


# ---- from the composed config to values ----------------------------------------------------------


def _plain(config: DictConfig) -> dict[str, Any]:
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise SpecError(_not_set(missing[0]))
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    return plain


def _not_set(key: str) -> str:
    return f"{key} is not set; give it on the command line: {key}=…"


def to_spec(plain: dict[str, Any]) -> RunSpec:
    """Raises SpecError with the key, the value and the remedy."""
    known = [*PARTS, *VALUES, *SETTINGS]
    _refuse_unknown("", plain, known)
    if missing := [key for key in known if key not in plain]:
        raise SpecError(_not_set(missing[0]))
    settings = {key: _value(key, plain[key], kind) for key, kind in SETTINGS.items()}
    if settings["tracking"]["name"] not in ("mlflow", "none"):
        raise SpecError(f"tracking.name must be mlflow or none, got {settings['tracking']['name']!r}")
    parts = {kind: _part(kind, plain[kind]) for kind in PARTS}
    values = {key: _value(key, plain[key], kind) for key, kind in VALUES.items()}
    try:
        spec = RunSpec(**parts, **values)
    except ValueError as error:
        raise SpecError(str(error)) from error
    _check_devices(spec, devices.named(_device(settings["device"])))
    return spec


def _part(kind: str, plain: dict[str, Any]) -> Any:
    values = dict(plain)
    if kind in ("healing", "schedule") and values.get("name") == "none":
        return None
    return _value(kind, values, plugins.load(kind, str(values.pop("name", None))))


def _value(key: str, plain: Any, kind: Any) -> Any:
    if is_dataclass(_sure(kind)):
        _refuse_unknown_inside(key, plain, _sure(kind))
    try:
        return msgspec.convert(plain, kind)
    except msgspec.ValidationError as error:
        raise SpecError(_explain(key, plain, kind, str(error))) from error


def _refuse_unknown_inside(key: str, plain: Any, kind: Any) -> None:
    if not isinstance(plain, dict):
        return
    _refuse_unknown(f"{key}.", plain, [field.name for field in fields(kind)])
    for name, hint in get_type_hints(kind).items():
        if is_dataclass(_sure(hint)) and plain.get(name) is not None:
            _refuse_unknown_inside(f"{key}.{name}", plain[name], _sure(hint))


def _sure(hint: Any) -> Any:
    """`Training` of `Training | None`."""
    return hint.__args__[0] if isinstance(hint, UnionType) else hint


def _refuse_unknown(prefix: str, plain: dict[str, Any], known: list[str]) -> None:
    for key in plain:
        if key not in known:
            raise SpecError(_no_such_key(prefix + key, [prefix + name for name in known]))


def _no_such_key(key: str, known: list[str]) -> str:
    near = get_close_matches(key, known, n=1)
    return f"unknown key {key!r}; there are {', '.join(sorted(known))}" + (
        f"; did you mean {near[0]!r}?" if near else ""
    )


def _explain(key: str, plain: Any, kind: Any, message: str) -> str:
    """`schedule.steps: expected int, got str (value: 'x')` from msgspec's wording, which names a place but no value."""
    text, _, place = message.partition(" - at `$")
    path = [step for step in place.rstrip("`").split(".") if step]
    full = ".".join([key, *path])
    if text.startswith("Invalid enum"):
        for step in path:
            kind = get_type_hints(_sure(kind))[step]
        return f"{full} must be one of {', '.join(get_args(kind))}, got {_at(plain, path)!r}"
    if text.startswith("Expected"):
        return f"{full}: {text[0].lower()}{text[1:].replace('`', '')} (value: {_at(plain, path)!r})"
    if text.startswith("Object missing"):
        return _not_set(f"{full}.{text.split('`')[1]}")
    values = _at(plain, path)  # a dataclass' own check: "target must be …"
    named = isinstance(values, dict) and text.split()[0] in values
    return f"{full}.{text}" if named else f"{full}: {text}"


def _at(plain: Any, path: list[str]) -> Any:
    for step in path:
        name, *places = re.findall(r"[^\[\]]+", step)  # `ratios[1]`
        plain = plain.get(name) if isinstance(plain, dict) else None
        for place in places:
            plain = plain[int(place)]
    return plain


def _device(asked: str | int | list[str | int]) -> str:
    """`0,1`, be it written so, as `[0,1]` or, of one alone, as a number."""
    return ",".join(map(str, asked)) if isinstance(asked, list) else str(asked)


def _check_devices(spec: RunSpec, on: tuple[str, ...]) -> None:
    """What a training asks of its devices."""
    if spec.sparsity and len(on) > 1:
        raise SpecError(f"sparsity=group_norm trains on one device, got {len(on)}: device={on[0]}")
    if getattr(spec.quantization, "training", None) and len(on) > 1:
        raise SpecError(f"quantization={spec.quantization.name} trains on one device, got {len(on)}: device={on[0]}")
    for key, training in (("finetune", spec.finetune), ("model.training", spec.model.training)):
        if training and not training.never:
            if training.precision == "fp16" and on[0] == "cpu":
                raise SpecError(f"{key}.precision=fp16 needs a GPU; take bf16, fp32 or auto on the CPU")
            devices.check_divides(f"{key}.batch", training.batch, on)


def _check_places(spec: RunSpec) -> None:
    """What can be known of the outside world before torch is imported."""
    for kind in PARTS:
        if check := getattr(getattr(spec, kind), "check", None):
            check()
    for key, weights in {
        "model.weights": spec.model.weights,
        "distillation.teacher": spec.distillation.teacher,
    }.items():
        if weights is not None and Path(weights).name != weights and not Path(weights).is_file():
            raise SpecError(f"{key}: no file {weights!r}")
    if (folder := spec.dataset.unlabelled) is not None and not Path(folder).is_dir():
        raise SpecError(f"dataset.unlabelled: no folder {folder!r}")


# ---- errors in one line --------------------------------------------------------------------------


@contextmanager
def _in_one_line() -> Iterator[None]:
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise SpecError(_one_line(error)) from error
    except OSError as error:
        if error.errno not in CANNOT_WRITE:
            raise
        raise StageError(f"cannot write: {error}; make room, or choose another folder with outputs=…") from error


def _one_line(error: BaseException) -> str:
    if isinstance(error, MissingConfigException) and error.options is not None:
        kind, _, name = str(error.missing_cfg_file).rpartition("/")
        return plugins.unknown(kind or "config", name, sorted(error.options))
    if hidden := re.search(r"Key '(\w+)' is not in struct\s+full_key: (\S+)", f"{error}\n{error.__cause__}"):
        return f"unknown key {hidden[2]!r}; see what there is with: secateur run --cfg job"
    return " ".join(str(error).split())


@contextmanager
def _as_command(words: list[str]) -> Iterator[None]:
    """Hydra reads sys.argv, and hides errors unless it is told not to; both are put back."""
    before, full = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv, os.environ["HYDRA_FULL_ERROR"] = words, "1"
    try:
        yield
    finally:
        sys.argv = before
        GlobalHydra.instance().clear()
        os.environ.pop("HYDRA_FULL_ERROR")
        if full is not None:
            os.environ["HYDRA_FULL_ERROR"] = full


def print_error(line: str) -> None:
    sys.stderr.write(f"secateur: {line}\n")


# ---- what stands around a run --------------------------------------------------------------------


def _header(spec: RunSpec, plain: dict[str, Any], folder: Path) -> RunHeader:
    overrides = list(HydraConfig.get().overrides.task)
    return RunHeader(
        id=folder.name if folder.parent.name == "runs" else f"{folder.parent.name}/{folder.name}",
        name=spec.name,
        spec=plain,
        versions={"python": sys.version.split()[0], **_versions(spec)},
        git=_git_commit(),
        command=shlex.join(["secateur", "run", *overrides]),
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


def _objective(report: RunReport) -> float | None:
    """For sweepers: mAP50-95 of what would ship."""
    return next((c.accuracy.main for c in report.candidates if c.name == report.selected), None)


def _sensitivity_facts(plain: dict[str, Any], overrides: list[str]) -> dict[str, str]:
    return {
        "criterion": plain["importance"]["name"],
        "pictures": f"at most {plain['sensitivity']['images']} training pictures at {plain['imgsz']} px",
        "command": shlex.join(["secateur", "sensitivity", *overrides]),
    }


def _say_where_sensitivity(console: Console, folder: Path) -> None:
    where = os.path.relpath(folder)
    console.print(
        f"\nTable    {where}/sensitivity.csv\nPage     {where}/sensitivity.html\n\n"
        "Next     the same overrides with scope=sensitivity let a run go by it",
        highlight=False, soft_wrap=True,
    )  # fmt: skip


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
