"""What this processor is, and which of its instruction sets the speed and the exactness of a net depend on."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
FLAGS = frozenset(
    "sse4_2 avx avx2 fma f16c avx512f avx512bw avx512vl avx512_vnni avx512_bf16 avx_vnni avx_vnni_int8 "
    "amx_tile amx_int8 amx_bf16 neon asimd asimdhp asimddp i8mm bf16 sve sve2".split()
)
"""The instruction sets that inference libraries choose their kernels by, as Linux spells them."""
X86, ARM = frozenset({"x86_64", "AMD64", "i686"}), frozenset({"aarch64", "arm64", "armv7l", "armv8l"})
"""How machines are named, by the family of their processor."""
X86_DOT, ARM_DOT = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"}), frozenset({"asimddp", "i8mm"})
"""What adds up products of 8 bits in 32, at once."""
BF16_PRODUCTS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""What multiplies numbers of 16 bits with FP32's exponent."""
FP16_PRODUCTS = frozenset({"asimdhp"})
"""What multiplies numbers of 16 bits with an exponent of 5."""


@cache
def cpuinfo() -> dict[str, str]:
    """What Linux says of the first core; empty elsewhere."""
    return parse_cpuinfo(CPUINFO.read_text()) if CPUINFO.exists() else {}


def parse_cpuinfo(text: str) -> dict[str, str]:
    """The lines `key : value` of /proc/cpuinfo; of several cores the first one's."""
    pairs = (line.split(":", 1) for line in reversed(text.splitlines()) if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def speed_flags(info: dict[str, str]) -> tuple[str, ...]:
    """The flags that matter, sorted; x86 lists them as `flags`, ARM as `Features`."""
    listed = info.get("flags") or info.get("Features") or ""
    return tuple(sorted(FLAGS.intersection(listed.split())))


def usable_cores() -> int:
    """How many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def activations_for(machine: str) -> str:
    """`uint8`, or `int8`, which the kernels for ARM are made for; `machine` as `platform.machine()` names it."""
    return "int8" if machine in ARM else "uint8"


def saturates(machine: str, flags: tuple[str, ...]) -> bool:
    """Whether products of 8 bits are added up in 16, which overflows unless weights have 7: x86 without VNNI, or of
    which no flags are known."""
    return machine not in ARM and not X86_DOT.intersection(flags)


def here() -> tuple[str, tuple[str, ...]]:
    """This machine's name and flags, as `activations_for` and `saturates` take them."""
    return platform.machine(), speed_flags(cpuinfo())
