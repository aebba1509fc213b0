"""`secateur init`: a folder of one's own, with choices and parts that are found beside those of the package."""

from __future__ import annotations

from pathlib import Path

from secateur.app.composing import shipped
from secateur.errors import SpecError

IGNORED = ".gitignore"
"""A folder that is under Git has one, which gains the lines that it lacks."""


def make(folder: Path) -> list[Path]:
    """Writes the files of template/, and nothing over another; raises SpecError. What it wrote, sorted."""
    template = shipped("template")
    paths = [path for path in sorted(template.rglob("*")) if path.is_file() and path.suffix != ".pyc"]  # of pip's
    wanted = {path.relative_to(template): path.read_text(encoding="utf-8") for path in paths}
    if (ignored := folder / IGNORED).is_file():
        wanted[Path(IGNORED)] = _with_lines(ignored.read_text(encoding="utf-8"), wanted[Path(IGNORED)])
    if there := [folder / file for file in wanted if str(file) != IGNORED and (folder / file).exists()]:
        raise SpecError(f"{there[0]} is there already, and would be overwritten; name another folder")
    try:
        for file, content in wanted.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(content, encoding="utf-8")
    except OSError as error:
        raise SpecError(f"cannot make {folder}: {error.strerror}; name another folder") from error
    return [folder / file for file in wanted]


def _with_lines(text: str, more: str) -> str:
    """The text, and below it those of the other lines that it lacks."""
    there = text.splitlines()
    return "\n".join([*there, *(line for line in more.splitlines() if line not in there)]) + "\n"
