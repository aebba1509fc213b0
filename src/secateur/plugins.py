"""The registry of parts is the folder listing: `importances/bn_scale.py` holds `BnScale`, named `bn_scale`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
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


def names(kind: str) -> list[str]:
    """All parts of a kind, sorted."""
    package = importlib.import_module(f"secateur.{FOLDERS[kind]}")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_"))


def load(kind: str, name: str) -> type[Any]:
    """The class of a part; raises SpecError where there is none of that name."""
    known = names(kind)
    if name not in known:
        raise SpecError(unknown(kind, name, known))
    module = importlib.import_module(f"secateur.{FOLDERS[kind]}.{name}")
    part: type[Any] = getattr(module, class_name(name))
    return part


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
