"""The same runs from Python, as in a notebook: `from secateur import compose, run`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from secateur import plugins, switches
from secateur.app.checking import PARTS, SETTINGS, VALUES, check_places, make_outputs, no_such_key, to_spec
from secateur.app.composing import composed, in_one_line, leave_order, own, shipped
from secateur.app.running import Order, run_in_folder
from secateur.errors import SpecError, StageError
from secateur.results import RunReport
from secateur.spaces import written
from secateur.specs import RunSpec


def compose(*overrides: str) -> RunSpec:
    """The run that `secateur run` would do with these overrides: `compose("+study=quickstart", "imgsz=128")`.

    Its parts are frozen dataclasses, which `dataclasses.replace` changes. Raises SpecError in one line.
    """
    return to_spec(composed(list(overrides)))


def run(spec: RunSpec, *, trust: bool = False, **settings: Any) -> RunReport:
    """Does a run, with the same results, in the same kind of folder and from the same store as the command line.

    Settings are what changes no result, named and meant as there: `device`, `workers`, `outputs`, `tracking`; `trust`
    is its `--trust`. Raises SpecError for others, and StageError where the run failed, which its folder tells too.
    """
    known = [key for key in SETTINGS if key != "slots"]  # which are for the jobs of a sweep
    if unknown := [key for key in settings if key not in known]:
        raise SpecError(no_such_key(unknown[0], known))
    plain = as_plain(spec, settings)
    check_places(spec)
    make_outputs(plain)
    order = Order(plain, tuple(overrides_of(plain)))
    folder = Path(plain["outputs"]) / "runs" / f"{datetime.now():%Y%m%d-%H%M%S-%f}_{spec.name}"
    with in_one_line(), switches.switched(debug=False):
        if trust:
            switches.trust()
        leave_order(list(order.overrides), folder)
        report = run_in_folder(order, folder)
    if report.error:
        raise StageError(report.error)
    return report


def as_plain(spec: RunSpec, settings: dict[str, Any]) -> dict[str, Any]:
    """What Hydra would have composed; raises SpecError where the settings are none."""
    plain = composed([f"{key}={_written(value)}" for key, value in settings.items()]) | _values_of(spec)
    to_spec(plain)
    return plain


def _values_of(spec: RunSpec) -> dict[str, Any]:
    values = {key: getattr(spec, key) for key in VALUES} | {kind: _part(getattr(spec, kind)) for kind in PARTS}
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(values))  # lists, where a spec has tuples
    return plain


def _part(part: Any) -> dict[str, Any]:
    return {"name": "none"} if part is None else {"name": plugins.name_of(part), **msgspec.to_builtins(part)}


def overrides_of(plain: dict[str, Any]) -> list[str]:
    """The fewest that compose to the same run: its parts, then what differs from their yaml."""
    kinds, default = (*PARTS, "tracking"), composed([])
    names = {kind: plain[kind]["name"] for kind in kinds}
    chosen = [f"{kind}={_choice(kind, name)}" for kind, name in names.items() if name != default[kind]["name"]]
    base = composed(chosen, open_ended=True)
    return [*chosen, *_differences("", plain, base | _values_of(to_spec(base)))]


def _choice(kind: str, name: str) -> str:
    """The yaml that takes a part: of its name, or the first that says it."""
    places = [folder / kind for folder in (shipped("conf"), own()) if folder]
    if any((place / f"{name}.yaml").is_file() for place in places):
        return name
    files = [file for place in places for file in sorted(place.glob("*.yaml"))]
    return next(file.stem for file in files if re.search(rf"^name: {re.escape(name)}$", file.read_text(), re.MULTILINE))


def _differences(prefix: str, plain: dict[str, Any], base: dict[str, Any]) -> Iterator[str]:
    for name, value in plain.items():
        key, new = f"{prefix}{name}", "" if name in base else "+"
        if isinstance(value, dict) and isinstance(base.get(name), dict):
            yield from _differences(f"{key}.", value, base[name])
        elif name not in base or value != base[name]:
            yield f"{new}{key}={_written(value)}"


def _written(value: Any) -> str:
    """In the grammar of Hydra's overrides."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_written(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(_written, value))}]"
    return written(str(value) if isinstance(value, Path) else value)
