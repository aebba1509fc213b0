"""From the command line to a composed config, as plain values: Hydra's part."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, MissingConfigException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from secateur import plugins
from secateur.app.checking import not_set
from secateur.errors import SpecError, StageError

CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.ENOTDIR)


def shipped(folder: str) -> Path:
    """`conf` or `experiments`: inside the installed package, or at the top of a checkout."""
    package = Path(__file__).parents[1]
    return package / folder if (package / folder).is_dir() else package.parents[1] / folder


class StudySearchPath(SearchPathPlugin):
    """Makes experiments/study/ a config group."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append("secateur", f"file://{shipped('experiments')}")


def register() -> None:
    """Makes Hydra know the studies."""
    Plugins.instance().register(StudySearchPath)


def composed(overrides: list[str]) -> dict[str, Any]:
    """Raises SpecError where Hydra cannot."""
    register()
    with in_one_line(), hydra.initialize_config_dir(str(shipped("conf")), version_base="1.3"):
        return as_plain(_compose(overrides))


def _compose(overrides: list[str]) -> DictConfig:
    try:
        return hydra.compose("config", overrides=overrides)
    except ValueError as error:  # Hydra's own for `schedule=null`
        raise SpecError(_one_line(error)) from error


def as_plain(config: DictConfig) -> dict[str, Any]:
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise SpecError(not_set(missing[0]))
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    return plain


@contextmanager
def in_one_line() -> Iterator[None]:
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
