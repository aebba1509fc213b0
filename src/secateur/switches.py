"""How a command is done, whatever it does: what `--trust` and `--debug` say.

They reach the processes that a command starts by the environment, so that no config file, whoever wrote it, sets them.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

TRUST = "SECATEUR_TRUST"
"""The checkpoints that the command names are opened even where they could run code."""

DEBUG = "SECATEUR_DEBUG"
"""Errors are told with their traceback."""


@contextmanager
def switched(debug: bool) -> Iterator[None]:
    """Whatever the environment said before: each command says it itself."""
    before = {name: os.environ.pop(name, None) for name in (TRUST, DEBUG)}
    if debug:
        os.environ[DEBUG] = "1"
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def trust() -> None:
    """From here on, and in what is started; within `switched`."""
    os.environ[TRUST] = "1"


def is_on(switch: str) -> bool:
    """Whether TRUST or DEBUG, as asked, is set for this process."""
    return os.environ.get(switch) == "1"


def trust_option() -> list[str]:
    """What a command line has to say so that the same checkpoints are opened."""
    return ["--trust"] if is_on(TRUST) else []


def handed_on() -> dict[str, str]:
    """What a process needs that does not inherit this one's environment."""
    return {name: "1" for name in (TRUST, DEBUG) if is_on(name)}


def told(error: BaseException) -> str:
    """What a person sees of an error: its one line, or the whole traceback where that is asked for."""
    return "".join(traceback.format_exception(error)).rstrip() if is_on(DEBUG) else f"secateur: {error}"
