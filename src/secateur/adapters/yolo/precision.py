"""In which numbers a net is trained: those that the device multiplies fastest."""

from __future__ import annotations

import torch

from secateur.specs import Precision


def settled(precision: Precision, device: str) -> Precision:
    """What `auto` is on this device: bf16 where it has it in hardware, and FP32 elsewhere."""
    if precision != "auto":
        return precision
    return "bf16" if _has_bf16(device) else "fp32"


def _has_bf16(device: str) -> bool:
    if device.startswith("cpu"):
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return torch.cuda.is_bf16_supported(including_emulation=False)
