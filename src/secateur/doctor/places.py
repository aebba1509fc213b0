"""Whether there is room, and leave to write, where runs and their processes write."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from secateur.checkup import Check

LEAST_GB, SPARE_GB = 1.0, 10.0
"""Of free disk: with less than the first a run may well fail; a training stack and a few runs take the second."""


def checks(outputs: Path) -> list[Check]:
    """Of `outputs`, a note where less than SPARE_GB are free, a problem where less than LEAST_GB; and of the folder for
    temporary files."""
    found = place("outputs", outputs, "run where you may write, or name another folder: outputs=…")
    return [_roomy(found, outputs), temporary()]


def temporary() -> Check:
    """Of the folder that Python takes for temporary files; a problem where it can write to none."""
    remedy = "name another folder in TMPDIR"
    try:
        return place("temporary", Path(tempfile.gettempdir()), remedy)
    except FileNotFoundError as error:  # Python has tried to write to all that there are
        return Check("place", "temporary", "problem", error.strerror or str(error), remedy)


def place(name: str, folder: Path, elsewhere: str) -> Check:
    """Tries to write; a folder that is not there yet is not made, its parent has to take it."""
    if fault := unwritable(folder):
        return Check("place", name, "problem", f"{folder.absolute()}: {fault}", elsewhere)
    free_gb = free_gb_at(folder)
    text = f"{folder.absolute()}{'' if folder.exists() else ', not there yet'}: {free_gb:.1f} GB free"
    if free_gb < LEAST_GB:
        return Check("place", name, "problem", text, f"make room, or {elsewhere}")
    return Check("place", name, "ok", text)


def _roomy(found: Check, outputs: Path) -> Check:
    if found.state == "ok" and free_gb_at(outputs) < SPARE_GB:
        return replace(found, state="note", remedy="secateur store gc --days 30 makes room")
    return found


def free_gb_at(folder: Path) -> float:
    """GB, of 10⁹ bytes, on the disk of the folder or, where it is not there yet, of the nearest parent that is."""
    return shutil.disk_usage(nearest(folder)).free / 1e9


def unwritable(folder: Path) -> str | None:
    """Why nothing can be written there; None where it can."""
    try:
        with tempfile.TemporaryFile(dir=nearest(folder)) as file:
            file.write(b"\0")
    except OSError as error:
        return error.strerror or str(error)
    return None


def nearest(folder: Path) -> Path:
    """Itself, or the nearest of its parents that is there."""
    return next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
