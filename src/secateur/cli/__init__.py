"""`secateur`: what a person sees of a command's end."""

from __future__ import annotations

import logging
import signal
import sys
from importlib.util import find_spec

from secateur.errors import SecateurError
from secateur.interrupts import EXIT_CODE, heeded

GO_ON = ("run", "sensitivity")
"""Commands that find in the store what they had done."""


def main() -> None:
    logging.raiseExceptions = False  # a log that does not fit on the disk either is no traceback
    with heeded():
        code = _code(sys.argv[1:])
    if code == EXIT_CODE:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # all is told: a second one needs no traceback of Python's own end
    sys.exit(code)


def _code(words: list[str]) -> int:
    """What the command came to, 0 where it was done; what went wrong is told in one line."""
    try:
        _do()
    except SecateurError as error:
        return _told(str(error), 2)
    except KeyboardInterrupt:
        return _told(_interrupted(words), EXIT_CODE)
    except ModuleNotFoundError as error:
        if find_spec("hydra") or (error.name or "secateur").startswith("secateur"):
            raise
        return _told(f"this takes the training stack ({error.name}): pip install 'secateur[lab]'", 2)
    return 0


def _do() -> None:
    """Raises what the command raises; SystemExit where it says its code itself."""
    from secateur.cli.commands import app  # only now that an interrupt is heeded

    try:
        app()
    except SystemExit as ended:  # which is what typer makes of an interrupt
        if ended.code != EXIT_CODE:
            raise
        raise KeyboardInterrupt from ended


def _interrupted(words: list[str]) -> str:
    if not words or words[0] not in GO_ON:
        return "interrupted"
    from secateur.sweeps import MULTIRUN

    if MULTIRUN & set(words):
        return "interrupted; with --resume the same command goes on where it was"
    return "interrupted; the same command goes on where it was"


def _told(line: str, code: int) -> int:
    sys.stderr.write(f"secateur: {line}\n")
    return code
