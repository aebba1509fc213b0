"""Which device this is, as far as the speed of a net depends on it."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from secateur.results import Fingerprint

CPUINFO = Path("/proc/cpuinfo")
BOARDS = (Path("/proc/device-tree/model"), Path("/sys/devices/virtual/dmi/id/product_name"))
FLAGS = frozenset(
    "sse4_2 avx avx2 fma f16c avx512f avx512bw avx512vl avx512_vnni avx512_bf16 avx_vnni avx_vnni_int8 "
    "amx_tile amx_int8 amx_bf16 neon asimd asimdhp asimddp i8mm bf16 sve sve2".split()
)
"""The instruction sets that inference libraries choose their kernels by, as Linux spells them."""


def fingerprint() -> Fingerprint:
    """This device; equal on every start of an unchanged device, containers included."""
    info = parse_cpuinfo(CPUINFO.read_text()) if CPUINFO.exists() else {}
    return Fingerprint(
        machine=_board() or platform.machine(),
        processor=info.get("model name") or info.get("Model") or platform.processor() or platform.machine(),
        cores=usable_cores(),
        flags=speed_flags(info),
        system=_system(),
    )


def usable_cores() -> int:
    """How many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parse_cpuinfo(text: str) -> dict[str, str]:
    """The lines `key : value` of /proc/cpuinfo; of several cores the first one's."""
    pairs = (line.split(":", 1) for line in reversed(text.splitlines()) if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def speed_flags(info: dict[str, str]) -> tuple[str, ...]:
    """The flags that matter, sorted; x86 lists them as `flags`, ARM as `Features`."""
    listed = info.get("flags") or info.get("Features") or ""
    return tuple(sorted(FLAGS.intersection(listed.split())))


def _board() -> str | None:
    present = (path.read_text(errors="replace").strip("\0\n ") for path in BOARDS if path.exists())
    return next(filter(None, present), None)


def _system() -> str:
    major_minor = ".".join(platform.release().split(".")[:2])
    return f"{platform.system()} {major_minor} {platform.machine()}"
