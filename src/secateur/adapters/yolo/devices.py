"""On what nets are trained: the CPU, a GPU, or several at once, one process each. Cheap to import."""

from __future__ import annotations

import re

from secateur.errors import SpecError


def named(asked: str) -> tuple[str, ...]:
    """`cpu` or `cuda:0`, …, in the order they were named in; raises SpecError where they make no sense."""
    names = [name.strip() for name in asked.split(",")]
    if not all(re.fullmatch(r"cpu|cuda|(cuda:)?\d+", name) for name in names):
        raise SpecError(
            f"device={asked!r}: a device is cpu, cuda or the number of a GPU, several stand between commas; "
            f"here there is {_there()}"
        )
    devices = tuple(name if name == "cpu" else f"cuda:{int(re.sub('[^0-9]', '', name) or 0)}" for name in names)
    if 0 < devices.count("cpu") < len(devices):
        raise SpecError(f"device={asked!r}: CPU and GPUs do not train together; here there is {_there()}")
    if devices[0] != "cpu" and len(set(devices)) < len(devices):
        raise SpecError(f"device={asked!r}: a GPU is named twice; here there is {_there()}")
    return devices


def check_there(asked: str) -> tuple[str, ...]:
    """The same; raises SpecError where one is not in this machine."""
    devices, count = named(asked), _gpus()
    if devices[0] != "cpu" and not count:
        raise SpecError(f"device={asked!r}: no CUDA device is available here; use device=cpu")
    if missing := [name for name in devices if name != "cpu" and int(name.removeprefix("cuda:")) >= count]:
        raise SpecError(f"device={asked!r}: there is no {missing[0]} here, there is {_there()}")
    return devices


def check_divides(key: str, batch: int, devices: tuple[str, ...]) -> None:
    """Raises SpecError where a batch, which is that of all devices together, cannot be divided among them."""
    count = len(devices)
    if batch % count:
        fitting = max(batch - batch % count, count)
        raise SpecError(f"{key}={batch} cannot be divided among {count} devices; take {key}={fitting}")


def _there() -> str:
    return "cpu" + "".join(f", cuda:{index}" for index in range(_gpus()))


def _gpus() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0
