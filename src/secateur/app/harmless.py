"""A config file says what a run is; it does not run code, whoever wrote it.

Hydra builds its callbacks, loggers, launcher and sweeper from the config, of any class and with any arguments, and sets
a job's environment by it. What they are is for secateur and the command line to say, not for a study or another file.
"""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from omegaconf import DictConfig, OmegaConf

from secateur.errors import SpecError
from secateur.plugins import nearest

RUN_CODE = (
    "callbacks",
    "hydra_logging",
    "job_logging",
    "launcher",
    "mode",
    "sweeper",
    "job.chdir",
    "job.env_set",
    "job.name",
)
"""Those of Hydra's own settings by which it does what they say, or elsewhere than where it was started."""

FOREIGN = ("config_path", "config_name", "experimental_rerun")
"""Flags by which it would not be secateur's config, or a pickle, that is run."""


def of_command_line(overrides: list[str]) -> DictConfig:
    """Hydra's part of a config, as those of the overrides that are about it make it, without what other files add;
    within `hydra.initialize…`."""
    own = [override for override in overrides if override.lstrip("+~").startswith("hydra")]
    found: DictConfig = hydra.compose("config", overrides=own, return_hydra_config=True).hydra
    return found


def check(composed: DictConfig, allowed: DictConfig) -> None:
    """Raises SpecError where Hydra's part of a config, as composed with all files, would run other code."""
    for key in RUN_CODE:
        if _said(composed, key) != _said(allowed, key):
            raise SpecError(
                f"a config file sets hydra.{key}, which can run code: take it out there, and say what is meant on the "
                "command line"
            )
    swept = OmegaConf.select(composed, "sweeper.params") or {}
    for key in swept:
        if str(key).lstrip("+~").startswith(("hydra", "_")) and key not in (
            OmegaConf.select(allowed, "sweeper.params") or {}
        ):
            raise SpecError(f"a config file sweeps {key}, which is Hydra's own: say it on the command line")


def _said(hydras: DictConfig, key: str) -> Any:
    node = OmegaConf.select(hydras, key)
    if not isinstance(node, DictConfig):
        return node
    plain: dict[Any, Any] = OmegaConf.to_container(node, resolve=False)  # type: ignore[assignment]
    return {name: value for name, value in plain.items() if (key, name) != ("sweeper", "params")}  # what is swept


# ---- Hydra's flags --------------------------------------------------------------------------------


def overrides_in(arguments: list[str]) -> list[str]:
    """Without Hydra's flags, but with what `--config-dir` stands for; raises SpecError where they are none."""
    parser = get_args_parser()
    _raise_in_place_of_exiting(parser)
    found = parser.parse_args(arguments)
    for name in FOREIGN:
        if getattr(found, name) is not None:
            raise SpecError(
                f"a run takes no --{name.replace('_', '-')}; configs of your own: 'hydra.searchpath=[file:///path/to/them]'"
            )
    folder = found.config_dir
    if folder is not None and not Path(folder).is_dir():
        raise SpecError(f"--config-dir: no folder {folder!r}")
    beside = [] if folder is None else [f"hydra.searchpath=['file://{Path(folder).absolute()}']"]
    return [*found.overrides, *beside]


def _raise_in_place_of_exiting(parser: ArgumentParser) -> None:
    flags = [flag for action in parser._actions for flag in action.option_strings]

    def error(message: str) -> NoReturn:
        _, _, named = message.partition("unrecognized arguments: ")
        if named:
            raise SpecError(f"run: no option {named.split()[0]}{nearest(named.split()[0], [*flags, *OWN])}")
        raise SpecError(f"run: {message}")

    parser.error = error  # type: ignore[method-assign]


OWN = ("--resume", "--trust", "--debug")
"""Flags of `secateur run` that are none of Hydra's."""
