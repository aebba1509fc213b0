"""From the command line to a composed config, as plain values: Hydra's part."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import configure_log, setup_globals
from hydra.errors import HydraException, MissingConfigException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from secateur import plugins
from secateur.app import harmless
from secateur.app.checking import not_set
from secateur.app.running import Order
from secateur.errors import SpecError, StageError

CONFIG = "config"
"""Where in a run's folder Hydra saves what was composed."""

LAUNCHERS = {"joblib": "lab", "ray": "ray", "submitit_local": "slurm", "submitit_slurm": "slurm"}
"""Those of Hydra's plugins that conf/hydra/launcher/ builds on, and the extra that each comes with."""

CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.ENOTDIR)


def shipped(folder: str) -> Path:
    """`conf`, `experiments` or `template`: inside the installed package, or at the top of a checkout."""
    package = Path(__file__).parents[1]
    return package / folder if (package / folder).is_dir() else package.parents[1] / folder


def own() -> Path | None:
    """`conf/` of the folder that a command is started in, as `secateur init` makes one; that of a checkout is none."""
    folder = Path("conf").absolute()
    return folder if folder.is_dir() and not folder.samefile(shipped("conf")) else None


class MoreChoices(SearchPathPlugin):
    """Makes experiments/study/ a config group, and finds choices in a folder of one's own."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Appends experiments/, and `conf/` of one's own where there is one; Hydra calls it."""
        search_path.append("secateur", f"file://{shipped('experiments')}")
        if folder := own():
            search_path.append("own", f"file://{folder}")


def register() -> None:
    """Makes Hydra know these; raises SpecError where a choice of one's own would never be found, as there is another
    of its name."""
    Plugins.instance().register(MoreChoices)
    if folder := own():
        for choice in (path.relative_to(folder) for path in folder.glob("*/**/*.yaml")):
            if any((place / choice).exists() for place in (shipped("conf"), shipped("experiments"))):
                raise SpecError(f"conf/{choice}: secateur has one of that name; give yours another")


SHOWN = "with: secateur run --cfg job"
"""How to see which keys there are."""


@contextmanager
def _choices(shown_by: str = SHOWN) -> Iterator[None]:
    """Hydra, open over all that can be chosen; raises SpecError where it cannot compose what is asked for meanwhile."""
    register()
    with in_one_line(shown_by), hydra.initialize_config_dir(str(shipped("conf")), version_base="1.3"):
        yield


def composed(overrides: list[str], open_ended: bool = False) -> dict[str, Any]:
    """Raises SpecError where Hydra cannot; where it is `open_ended`, what must be set may be left `???`."""
    with _choices():
        return as_plain(_compose(overrides), open_ended)


def composed_to_run(overrides: list[str]) -> DictConfig:
    """As Hydra will compose it, and before it does, as it then also does what its own part says; raises SpecError."""
    with _choices():
        config = _compose(overrides, return_hydra_config=True)
        harmless.check(config.hydra, harmless.of_command_line(overrides))
        return _without_hydra(config)


def _compose(overrides: list[str], return_hydra_config: bool = False) -> DictConfig:
    try:
        return hydra.compose("config", overrides=overrides, return_hydra_config=return_hydra_config)
    except ValueError as error:  # Hydra's own for `schedule=null`
        raise SpecError(_one_line(error)) from error


def _without_hydra(config: DictConfig) -> DictConfig:
    with open_dict(config):
        del config["hydra"]
    return config


def as_plain(config: DictConfig, open_ended: bool = False) -> dict[str, Any]:
    """Dicts, lists and scalars, interpolations resolved; raises SpecError where a key is left `???`, unless it is
    `open_ended`."""
    missing = sorted(OmegaConf.missing_keys(config))
    if missing and not open_ended:
        raise SpecError(not_set(missing[0]))
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    return plain


@contextmanager
def in_one_line(shown_by: str = SHOWN) -> Iterator[None]:
    """Errors of Hydra, OmegaConf and YAML become a SpecError; a disk that takes no writes becomes a StageError."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise SpecError(_one_line(error, shown_by)) from error
    except yaml.YAMLError as error:
        raise SpecError(f"a config file cannot be read: {' '.join(str(error).split())}") from error
    except OSError as error:
        if error.errno not in CANNOT_WRITE:
            raise
        raise StageError(f"cannot write: {error}; make room, or choose another folder with outputs=…") from error


def _one_line(error: BaseException, shown_by: str = SHOWN) -> str:
    if isinstance(error, MissingConfigException):
        kind, _, name = str(error.missing_cfg_file).rpartition("/")
        if kind == "hydra/launcher" and name in LAUNCHERS:
            return f"hydra/launcher={name} is not installed: pip install 'secateur[{LAUNCHERS[name]}]'"
        if error.options is not None:
            return plugins.unknown(kind or "config", name, sorted(error.options))
    if hidden := re.search(r"Key '(\w+)' is not in struct\s+full_key: (\S+)", f"{error}\n{error.__cause__}"):
        near = plugins.nearest(hidden[2], _beside(hidden[2], error))
        return f"unknown key {hidden[2]!r}; see what there is {shown_by}{near}"
    if named := re.match(r"Error parsing override '([\w/]+)'\s+missing EQUAL", str(error)):
        return f"{named[1]!r} is no override, which is written key=value; of a study: +study={named[1]}"
    if re.match(r"Could not override 'study'", str(error)):
        return "a study is added with a plus: +study=…"
    if gone := re.match(r"Could not delete from config\. '(\S+)' does not exist", str(error)):
        return f"unknown key {gone[1]!r}; see what there is {shown_by}"
    return " ".join(str(error).split())


def _beside(key: str, error: BaseException) -> list[str]:
    """What there is where the key was looked for."""
    found: Any = error if isinstance(error, OmegaConfBaseException) else error.__cause__
    place, _, _ = key.rpartition(".")
    there = getattr(found, "parent_node", None)
    names = map(str, there) if isinstance(there, DictConfig) else ()
    return [f"{place}.{name}" if place else name for name in names]


@contextmanager
def as_command(words: list[str]) -> Iterator[None]:
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


# ---- what a job of a sweep, or a trial of a search, finds in its folder ---------------------------


def leave_order(overrides: list[str], folder: Path) -> None:
    """Leaves in the folder what Hydra would of a run of its own."""
    with _choices():
        config = _compose(overrides, return_hydra_config=True)
        harmless.check(config.hydra, harmless.of_command_line(overrides))
    with open_dict(config):
        config.hydra.runtime.output_dir = str(folder.absolute())
        hydras = config.pop("hydra")
    (folder / CONFIG).mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, folder / CONFIG / "config.yaml")
    OmegaConf.save({"hydra": hydras}, folder / CONFIG / "hydra.yaml")


def order_in(folder: Path) -> Order:
    """What Hydra left there of the config and how it was composed."""
    setup_globals()
    return order_of(_saved(folder, "config"), _saved(folder, "hydra").hydra)


def _saved(folder: Path, name: str) -> DictConfig:
    saved = OmegaConf.load(folder / CONFIG / f"{name}.yaml")
    assert isinstance(saved, DictConfig)
    return saved


def order_of(config: DictConfig, hydras: Any) -> Order:
    """With Hydra's own part of the config."""
    return Order(as_plain(config), tuple(hydras.overrides.task))


def set_up_logging(folder: Path) -> None:
    """As Hydra does before it calls a job."""
    hydras = _saved(folder, "hydra").hydra
    configure_log(hydras.job_logging, hydras.verbose)


# ---- what a sweep consists of ---------------------------------------------------------------------


@dataclass(frozen=True)
class Planned:
    """A sweep's folder and launcher, and of each of its jobs the overrides and the composed config."""

    folder: Path
    launcher: dict[str, Any]
    jobs: list[list[str]]
    configs: list[dict[str, Any]]


def planned(overrides: list[str]) -> Planned:
    """Raises SpecError where nothing is swept, or where Hydra cannot compose."""
    with _choices():
        loader = GlobalHydra.instance().config_loader()
        sweep = loader.load_configuration("config", overrides, RunMode.MULTIRUN)
        allowed = harmless.of_command_line(overrides)
        harmless.check(sweep.hydra, allowed)
        jobs = _jobs(sweep, loader)
        configs = [_of_job(loader.load_sweep_config(sweep, job), allowed) for job in jobs]
        return Planned(Path(sweep.hydra.sweep.dir), _values(sweep.hydra.launcher), jobs, configs)


def _values(config: DictConfig) -> dict[str, Any]:
    """Those of Hydra's own that need no job to be known."""
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=False)  # type: ignore[assignment]
    return plain


def _jobs(sweep: DictConfig, loader: ConfigLoader) -> list[list[str]]:
    """The overrides of each, as Hydra's own sweeper finds them."""
    swept = [f"{key}={values}" for key, values in (sweep.hydra.sweeper.params or {}).items()]
    parsed = OverridesParser.create(loader).parse_overrides([*swept, *sweep.hydra.overrides.task])
    if not any(override.is_sweep_override() for override in parsed):
        raise SpecError("nothing is swept: give a key several values, schedule.target=0.2,0.4; without -m it is a run")
    (jobs,) = BasicSweeper.split_arguments(parsed, None)
    if twice := [job for number, job in enumerate(jobs) if job in jobs[:number]]:
        raise SpecError(f"a job is asked for twice: {' '.join(twice[0])}")
    return jobs


def _of_job(config: DictConfig, allowed: DictConfig) -> dict[str, Any]:
    harmless.check(config.hydra, allowed)  # it may be a study that is swept
    return as_plain(_without_hydra(config))


# ---- what a search may choose from ----------------------------------------------------------------


def settings_of_search(overrides: list[str]) -> dict[str, Any]:
    """What `conf/search/` and these overrides, all of `search`, say; raises SpecError."""
    with _choices("in conf/search/default.yaml"):
        settings: dict[str, Any] = as_plain(hydra.compose("search", overrides=overrides))["search"]
    return settings


def keys_given(overrides: list[str]) -> set[str]:
    """The keys and groups that the overrides set; raises SpecError where one is swept."""
    with in_one_line():
        parsed = OverridesParser.create().parse_overrides(overrides)
    for override in parsed:
        if override.is_sweep_override():
            raise SpecError(
                f"{override.input_line} is a sweep's; a search takes search.space.{override.key_or_group}=[…]"
            )
    return {override.key_or_group for override in parsed}
