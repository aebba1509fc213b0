"""The registry of parts is the folder listing: `importances/bn_scale.py` holds `BnScale`, named `bn_scale`.

A folder of one's own (`secateur init`) may hold more of them, in `parts/importances/` and so on.
"""

from __future__ import annotations

import hashlib
import importlib
import pkgutil
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from secateur.errors import SpecError

FOLDERS = {
    "importance": "importances",
    "schedule": "schedules",
    "healing": "healers",
    "dataset": "datasets",
    "quantization": "quantizers",
    "runtime": "runtimes",
}
OWN = Path("parts")
"""Where own parts lie, in the folder that a command is started in."""
NEVER_OWN = "runtime"
"""A device would not have it; and what opens a bundle must not run what lies beside it."""


def names(kind: str) -> list[str]:
    """All parts of a kind, sorted; raises SpecError where one's own has the name of another."""
    shipped, *own = (_in(place) for place in _package(kind).__path__)
    for name in shipped.intersection(*own) if own else ():
        raise SpecError(f"{OWN}/{FOLDERS[kind]}/{name}.py: secateur has one of that name; give yours another")
    return sorted(shipped.union(*own))


def load(kind: str, name: str) -> type[Any]:
    """The class of a part; raises SpecError where there is none of that name."""
    known = names(kind)
    if name not in known:
        raise SpecError(unknown(kind, name, known))
    module = importlib.import_module(f"secateur.{FOLDERS[kind]}.{name}")
    part: type[Any] | None = getattr(module, class_name(name), None)
    if part is None:
        raise SpecError(f"{module.__file__} holds no class {class_name(name)}, which its name asks for")
    if module.__file__ and Path(module.__file__).is_relative_to(OWN.absolute()):
        _keep_apart(module, Path(module.__file__))
    return part


def _keep_apart(module: ModuleType, file: Path) -> None:
    """Has the file's digest in its VERSION, as nobody raises that of a file of his own each time that he changes it."""
    digest, said = hashlib.sha256(file.read_bytes()).hexdigest()[:12], str(vars(module).get("VERSION", ""))
    if not said.endswith(digest):
        vars(module)["VERSION"] = f"{said}-{digest}" if said else digest


def name_of(part: object) -> str:
    """What it was loaded by: `bn_scale` of a `BnScale`."""
    return type(part).__module__.rpartition(".")[2]


def _package(kind: str) -> ModuleType:
    """Its modules are found in the folder of one's own too, where there is one."""
    package = importlib.import_module(f"secateur.{FOLDERS[kind]}")
    own = (OWN / FOLDERS[kind]).absolute()
    package.__path__[1:] = [str(own)] if own.is_dir() and kind != NEVER_OWN else []
    return package


def _in(place: str) -> set[str]:
    return {module.name for module in pkgutil.iter_modules([place]) if not module.name.startswith("_")}


def libraries(*values: object) -> list[str]:
    """Those that the parts in the values, however deep, say they work with, beyond what their stage names."""
    own = [library for value in values for library in getattr(value, "libraries", ())]
    inner = [getattr(v, f.name) for v in values if is_dataclass(v) and not isinstance(v, type) for f in fields(v)]
    return own + (libraries(*inner) if inner else [])


def class_name(name: str) -> str:
    """`bn_scale` -> `BnScale`."""
    return "".join(word.capitalize() for word in name.split("_"))


def unknown(kind: str, name: str, known: list[str]) -> str:
    """One line for a name that is not there, with the nearest that is."""
    return f"no {kind} named {name!r}; there are {', '.join(known)}{nearest(name, known)}"


def nearest(name: str, known: Iterable[str]) -> str:
    """What follows, in one line, upon a name that is not known: the nearest that is; nothing where none is near."""
    near = get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
