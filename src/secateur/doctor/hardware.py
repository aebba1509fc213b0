"""The processor, its cores and memory, and what ONNX Runtime can run on, as far as speed and INT8 depend on them."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path

from secateur.checkup import Check
from secateur.edge.fingerprint import fingerprint
from secateur.processor import ARM, ARM_DOT, BF16_PRODUCTS, FP16_PRODUCTS, X86_DOT, saturates, usable_cores
from secateur.runtimes.onnxruntime import Onnxruntime

MEMINFO = Path("/proc/meminfo")
QUOTA, LIMIT = Path("/sys/fs/cgroup/cpu.max"), Path("/sys/fs/cgroup/memory.max")
"""What a container may use, where it is limited."""
LEAST_GB = 1.0
"""Of free memory: with less, a prediction fits, which takes about 0.1, and hardly anything else does."""


def checks() -> list[Check]:
    """All of this machine; memory is left out where the system does not tell."""
    device = fingerprint()
    flags, machine = device.flags, platform.machine()
    told = f"{device.processor}, {device.system}: {', '.join(flags) or 'its flags are not told'}"
    return [
        Check("processor", "processor", "ok", told),
        int8(machine, flags),
        halves(flags),
        cores(usable_cores(), os.cpu_count() or 1, _read(QUOTA)),
        *memory(_read(MEMINFO), _read(LIMIT)),
        Check("processor", "onnxruntime", "ok", f"runtime.provider={' | '.join(Onnxruntime().providers())}"),
    ]


def int8(machine: str, flags: tuple[str, ...]) -> Check:
    """Whether products of 8 bits are added up in 32 bits at once."""
    wanted = ARM_DOT if machine in ARM else X86_DOT
    if has := sorted(wanted.intersection(flags)):
        return Check("processor", "INT8", "ok", f"{', '.join(has)}: products are added up in 32 bits, weights have 8")
    lacks = f"none of {', '.join(sorted(wanted))}" if flags else "the system does not tell the processor's flags"
    if saturates(machine, flags):
        text = f"{lacks}: products are added up in 16 bits, so that weights get 7, and INT8 gains less time"
        remedy = "leave quantization.reduce_range=auto for files that run here; measure INT8 against FP32"
        return Check("processor", "INT8", "note", text, remedy)
    text = f"{lacks}: a product of 8 bits takes several instructions, and INT8 gains less time"
    return Check("processor", "INT8", "note", text, "measure INT8 against FP32")


def halves(flags: tuple[str, ...]) -> Check:
    """Numbers of 16 bits."""
    has = sorted((BF16_PRODUCTS | FP16_PRODUCTS).intersection(flags))
    if not BF16_PRODUCTS.intersection(has):
        also = f"; {', '.join(has)}: runtime=ncnn runtime.precision=f16" if has else ""
        return Check("processor", "bf16", "note", f"none of {', '.join(sorted(BF16_PRODUCTS))}: FP32 and INT8{also}")
    return Check("processor", "bf16", "ok", f"{', '.join(has)}: runtime.precision=bf16 with openvino or ncnn")


def cores(usable: int, every: int, quota: str | None) -> Check:
    """`quota` is a control group's `cpu.max`: microseconds a period, and the period."""
    allowed, _, period = (quota or "max").partition(" ")
    text = f"{usable} usable of {every}"
    if allowed != "max" and (share := int(allowed) / int(period)) < usable:
        text = f"{text}, of which the container may use {share:.1f} at a time: more threads only wait"
        return Check("processor", "cores", "note", text, f"runtime.threads={max(int(share), 1)} or fewer")
    return Check("processor", "cores", "ok", text)


def memory(meminfo: str | None, limit: str | None) -> Iterator[Check]:
    """`limit` is a control group's `memory.max`, in bytes; nothing where the system does not tell."""
    if meminfo is None:
        return
    kilobytes = {key: int(value.split()[0]) for key, _, value in (line.partition(":") for line in meminfo.splitlines())}
    free, total = (kilobytes.get(key, 0) * 1024 / 1e9 for key in ("MemAvailable", "MemTotal"))
    most = float(limit) / 1e9 if limit and limit != "max" else total
    text = f"{min(free, most):.1f} GB free of {min(total, most):.1f} GB"
    if most < total:
        text += f" that the container may use, of {total:.1f} GB"
    if min(free, most) < LEAST_GB:
        remedy = "end what else runs, or take a smaller finetune.batch and imgsz"
        yield Check("processor", "memory", "note", f"{text}: a training may be ended for it", remedy)
    else:
        yield Check("processor", "memory", "ok", text)


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
