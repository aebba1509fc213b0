"""In which numbers a net is trained: those that the device multiplies fastest."""

from __future__ import annotations

import torch

from secateur.errors import SpecError
from secateur.specs import Precision


def autocast_name(precision: Precision, device: str) -> str | bool:
    """What Ultralytics calls it; `auto` is bf16 where the device has it in hardware, and FP32 elsewhere.

    Raises SpecError for FP16 on the CPU, whose small numbers need a scaler that only GPUs have.
    """
    if precision == "fp16" and device.startswith("cpu"):
        raise SpecError("finetune.precision=fp16 needs a GPU; use bf16, fp32 or auto on the CPU")
    wanted = ("bf16" if _has_bf16(device) else "fp32") if precision == "auto" else precision
    return False if wanted == "fp32" else wanted


def _has_bf16(device: str) -> bool:
    if device.startswith("cpu"):
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return torch.cuda.is_bf16_supported(including_emulation=False)
