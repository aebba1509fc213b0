"""What typer does not understand, told as all other errors are: in one line, with the value and the nearest name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer

from secateur.errors import SpecError
from secateur.plugins import nearest, unknown

UsageError: Any = typer.BadParameter.__base__
"""What typer raises; of all its errors it names only this one's child."""


@contextmanager
def in_one_line(words: Sequence[str]) -> Iterator[None]:
    """Raises SpecError for what is wrong with the words of a command; SystemExit where they ask for nothing, which
    shows what there is."""
    try:
        yield
    except UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
            raise SystemExit(error.exit_code) from error
        raise SpecError(_line(error, words)) from error


def _line(error: Any, words: Sequence[str]) -> str:
    if named := re.match(r"No such command '(.+?)'", error.message):
        return unknown("command", named[1], sorted(error.ctx.command.commands))
    command = error.ctx.command_path if error.ctx else f"secateur {words[0]}"
    place = command.removeprefix("secateur").strip()
    fault, near = _fault(error, words)
    return f"{place}: {fault}".removeprefix(": ") + (near or f"; see {command} --help")


def _fault(error: Any, words: Sequence[str]) -> tuple[str, str]:
    """What is wrong, and the nearest name that is right, if there is one."""
    if hasattr(error, "possibilities"):
        options = [name for option in error.ctx.command.params for name in option.opts if name.startswith("-")]
        return f"no option {error.option_name}", nearest(error.option_name, options)
    if given := _given(error, words):
        return f"{given}: {_as_clause(error.message)}", ""
    return _as_clause(error.format_message()), ""


def _given(error: Any, words: Sequence[str]) -> str | None:
    """The option that a value was refused for, with the value; None for other errors."""
    option: Any = error.param if type(error) is typer.BadParameter else None
    if option is None:
        return None
    for name in option.opts:
        for word, following in zip(words, [*words[1:], ""], strict=True):
            if word == name or word.startswith(f"{name}="):
                return f"{name} {word.partition('=')[2] or following}"
    return str(option.opts[-1])


def _as_clause(sentence: str) -> str:
    text = " ".join(sentence.split()).rstrip(".")
    return text[:1].lower() + text[1:]
