"""`secateur init`: a folder of one's own, with choices and parts that are found beside those of the package."""

from __future__ import annotations

from pathlib import Path

from secateur.app.composing import shipped
from secateur.errors import SpecError


def make(folder: Path) -> list[Path]:
    """Writes the files of template/, and nothing over another; raises SpecError. What it wrote, sorted."""
    template = shipped("template")
    files = [path.relative_to(template) for path in sorted(template.rglob("*")) if path.is_file()]
    wanted = [file for file in files if file.suffix != ".pyc"]  # pip compiles the example, too
    if there := [folder / file for file in wanted if (folder / file).exists()]:
        raise SpecError(f"{there[0]} is there already, and would be overwritten; name another folder")
    try:
        for file in wanted:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes((template / file).read_bytes())
    except OSError as error:
        raise SpecError(f"cannot make {folder}: {error.strerror}; name another folder") from error
    return [folder / file for file in wanted]
