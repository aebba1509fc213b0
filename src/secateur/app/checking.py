"""From the composed config to a RunSpec; what is wrong is told with the key, the value and the remedy."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_type_hints

import msgspec

from secateur import plugins
from secateur.adapters.yolo import devices
from secateur.errors import SpecError, StageError
from secateur.specs import (
    Activation,
    Benchmark,
    Distillation,
    Evidence,
    Export,
    Model,
    Probes,
    RunSpec,
    Scope,
    Sparsity,
    Training,
)

PARTS = ("dataset", "importance", "schedule", "healing", "quantization", "runtime")
VALUES: dict[str, Any] = {
    "name": str,
    "model": Model,
    "evidence": Evidence,
    "scope": Scope,
    "sensitivity": Probes,
    "sparsity": Sparsity | None,
    "activation": Activation,
    "finetune": Training,
    "distillation": Distillation,
    "max_map_drop": float | None,
    "patience": int,
    "export": Export,
    "benchmark": Benchmark,
    "imgsz": int,
    "seed": int,
}
SETTINGS: dict[str, Any] = {
    "device": str | int | list[str | int],
    "slots": list[str | int] | None,
    "workers": int,
    "outputs": str,
    "tracking": dict[str, str],
}


def to_spec(plain: dict[str, Any]) -> RunSpec:
    """Raises SpecError with the key, the value and the remedy."""
    known = [*PARTS, *VALUES, *SETTINGS]
    _refuse_unknown("", plain, known)
    if missing := [key for key in known if key not in plain]:
        raise SpecError(not_set(missing[0]))
    settings = {key: _value(key, plain[key], kind) for key, kind in SETTINGS.items()}
    if settings["tracking"]["name"] not in ("mlflow", "none"):
        raise SpecError(f"tracking.name must be mlflow or none, got {settings['tracking']['name']!r}")
    parts = {kind: _part(kind, plain[kind]) for kind in PARTS}
    values = {key: _value(key, plain[key], kind) for key, kind in VALUES.items()}
    try:
        spec = RunSpec(**parts, **values)
    except ValueError as error:
        raise SpecError(str(error)) from error
    for device in slots_of(plain) or [device_of(settings["device"])]:
        _check_devices(spec, devices.named(device))
    return spec


def _part(kind: str, plain: dict[str, Any]) -> Any:
    values = dict(plain)
    if kind in ("healing", "schedule") and values.get("name") == "none":
        return None
    return _value(kind, values, plugins.load(kind, str(values.pop("name", None))))


def _value(key: str, plain: Any, kind: Any) -> Any:
    if is_dataclass(_sure(kind)):
        _refuse_unknown_inside(key, plain, _sure(kind))
    try:
        return msgspec.convert(plain, kind)
    except msgspec.ValidationError as error:
        raise SpecError(_explain(key, plain, kind, str(error))) from error


def _refuse_unknown_inside(key: str, plain: Any, kind: Any) -> None:
    if not isinstance(plain, dict):
        return
    _refuse_unknown(f"{key}.", plain, [field.name for field in fields(kind)])
    for name, hint in get_type_hints(kind).items():
        if is_dataclass(_sure(hint)) and plain.get(name) is not None:
            _refuse_unknown_inside(f"{key}.{name}", plain[name], _sure(hint))


def _sure(hint: Any) -> Any:
    """`Training` of `Training | None`."""
    return hint.__args__[0] if isinstance(hint, UnionType) else hint


def _refuse_unknown(prefix: str, plain: dict[str, Any], known: list[str]) -> None:
    for key in plain:
        if key not in known:
            raise SpecError(no_such_key(prefix + key, [prefix + name for name in known]))


def no_such_key(key: str, known: list[str]) -> str:
    """One line for an error: those there are, and the nearest if one is near."""
    return f"unknown key {key!r}; there are {', '.join(sorted(known))}{plugins.nearest(key, known)}"


def _explain(key: str, plain: Any, kind: Any, message: str) -> str:
    """`schedule.steps: expected int, got str (value: 'x')` from msgspec's wording, which names a place but no value."""
    text, _, place = message.partition(" - at `$")
    path = [step for step in place.rstrip("`").split(".") if step]
    full = ".".join([key, *path])
    if text.startswith("Invalid enum"):
        for step in path:
            kind = get_type_hints(_sure(kind))[step]
        asked, known = _at(plain, path), get_args(kind)
        return f"{full} must be one of {', '.join(known)}, got {asked!r}{plugins.nearest(str(asked), known)}"
    if text.startswith("Expected"):
        return f"{full}: {text[0].lower()}{text[1:].replace('`', '')} (value: {_at(plain, path)!r})"
    if text.startswith("Object missing"):
        return not_set(f"{full}.{text.split('`')[1]}")
    values = _at(plain, path)  # a dataclass' own check: "target must be …"
    named = isinstance(values, dict) and text.split()[0] in values
    return f"{full}.{text}" if named else f"{full}: {text}"


def _at(plain: Any, path: list[str]) -> Any:
    for step in path:
        name, *places = re.findall(r"[^\[\]]+", step)  # `ratios[1]`
        plain = plain.get(name) if isinstance(plain, dict) else None
        for place in places:
            plain = plain[int(place)]
    return plain


def not_set(key: str) -> str:
    """One line for an error, with how to set it."""
    return f"{key} is not set; give it on the command line: {key}=…"


def device_of(asked: str | int | list[str | int]) -> str:
    """`0,1`, be it written so, as `[0,1]` or, of one alone, as a number."""
    return ",".join(map(str, asked)) if isinstance(asked, list) else str(asked)


def slots_of(plain: dict[str, Any]) -> list[str]:
    """The devices that jobs share; none where each has `device`."""
    if plain["slots"] == []:
        raise SpecError("slots must name a device or more, got []; slots=null where all jobs have `device`")
    return [",".join(devices.named(str(slot))) for slot in plain["slots"] or ()]


def _check_devices(spec: RunSpec, on: tuple[str, ...]) -> None:
    """What a training asks of its devices."""
    if spec.sparsity and len(on) > 1:
        raise SpecError(f"sparsity=group_norm trains on one device, got {len(on)}: device={on[0]}")
    if getattr(spec.quantization, "training", None) and len(on) > 1:
        raise SpecError(f"quantization={spec.quantization.name} trains on one device, got {len(on)}: device={on[0]}")
    for key, training in (("finetune", spec.finetune), ("model.training", spec.model.training)):
        if training and not training.never:
            if training.precision == "fp16" and on[0] == "cpu":
                raise SpecError(f"{key}.precision=fp16 needs a GPU; take bf16, fp32 or auto on the CPU")
            devices.check_divides(f"{key}.batch", training.batch, on)


def make_outputs(plain: dict[str, Any]) -> None:
    """Makes the folder that runs write to; raises StageError where it cannot be."""
    try:
        Path(plain["outputs"]).mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise StageError(f"cannot write: {plain['outputs']} is no folder; choose one with outputs=…") from error
    except OSError as error:
        raise StageError(f"cannot write: {error}; make room, or choose another folder with outputs=…") from error


def _may_be_published(weights: str) -> bool:
    """By Ultralytics, whose list of names takes seconds to import."""
    return Path(weights).name == weights and weights.lower().startswith("yolo")


def check_places(spec: RunSpec) -> None:
    """What can be known of the outside world before torch is imported."""
    for kind in PARTS:
        if check := getattr(getattr(spec, kind), "check", None):
            check()
    for key, weights in {
        "model.weights": spec.model.weights,
        "distillation.teacher": spec.distillation.teacher,
    }.items():
        if weights is not None and not (Path(weights).is_file() or _may_be_published(weights)):
            raise SpecError(f"{key}: no file {weights!r}")
    if (folder := spec.dataset.unlabelled) is not None and not Path(folder).is_dir():
        raise SpecError(f"dataset.unlabelled: no folder {folder!r}")
