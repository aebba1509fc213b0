"""Which device this is, as far as the speed of a net depends on it."""

from __future__ import annotations

import platform
from pathlib import Path

from secateur.processor import cpuinfo, speed_flags, usable_cores
from secateur.results import Fingerprint

BOARDS = (Path("/proc/device-tree/model"), Path("/sys/devices/virtual/dmi/id/product_name"))
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def fingerprint() -> Fingerprint:
    """This device; equal on every start of an unchanged device, containers included."""
    info = cpuinfo()
    return Fingerprint(
        machine=_board() or platform.machine(),
        processor=info.get("model name") or info.get("Model") or platform.processor() or platform.machine(),
        cores=usable_cores(),
        flags=speed_flags(info),
        system=_system(),
        governor=GOVERNOR.read_text().strip() if GOVERNOR.exists() else None,
    )


def _board() -> str | None:
    present = (path.read_text(errors="replace").strip("\0\n ") for path in BOARDS if path.exists())
    return next(filter(None, present), None)


def _system() -> str:
    major_minor = ".".join(platform.release().split(".")[:2])
    return f"{platform.system()} {major_minor} {platform.machine()}"
