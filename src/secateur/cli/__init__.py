"""`secateur`: what a person sees of a command's end."""

from __future__ import annotations

import logging
import signal
import sys
from importlib.util import find_spec

from secateur.errors import SecateurError, SpecError
from secateur.interrupts import EXIT_CODE, heeded
from secateur.switches import switched, told

DEBUG = "--debug"
"""Wherever it stands among the words of a command."""

GO_ON = ("run", "sensitivity")
"""Commands that find in the store what they had done."""


def main() -> None:
    """Ends the process: with the command's own exit code, 2 for an error that is told in one line, 130 for an
    interrupt."""
    logging.raiseExceptions = False  # a log that does not fit on the disk either is no traceback
    words = [word for word in sys.argv[1:] if word != DEBUG]
    with heeded(), switched(debug=DEBUG in sys.argv[1:]):
        code = _code(words)
    if code == EXIT_CODE:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # all is told: a second one needs no traceback of Python's own end
    sys.exit(code)


def _code(words: list[str]) -> int:
    """What the command came to, 0 where it was done; what went wrong is told in one line."""
    try:
        return _do(words)
    except SecateurError as error:
        return _told(told(error), 2)
    except KeyboardInterrupt:
        return _told(f"secateur: {_interrupted(words)}", EXIT_CODE)
    except ModuleNotFoundError as error:
        if find_spec("hydra") or (error.name or "secateur").startswith("secateur"):
            raise
        missing = SpecError(f"this takes the training stack ({error.name}): pip install 'secateur[lab]'")
        missing.__cause__ = error
        return _told(told(missing), 2)


def _do(words: list[str]) -> int:
    """The command's own exit code; raises what the command raises."""
    from secateur.cli import usage
    from secateur.cli.commands import app  # only now that an interrupt is heeded

    with usage.in_one_line(words):
        code = app(words, prog_name="secateur", standalone_mode=False)
    if code == EXIT_CODE:  # which is what typer makes of an interrupt
        raise KeyboardInterrupt
    return code or 0


def _interrupted(words: list[str]) -> str:
    if not words or words[0] not in GO_ON:
        return "interrupted"
    from secateur.sweeps import MULTIRUN

    if MULTIRUN & set(words):
        return "interrupted; with --resume the same command goes on where it was"
    return "interrupted; the same command goes on where it was"


def _told(text: str, code: int) -> int:
    sys.stderr.write(f"{text}\n")
    return code
