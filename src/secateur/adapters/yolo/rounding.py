"""Quantization-aware training: Ultralytics' own, by NVIDIA's ModelOpt, made repeatable and quiet."""

from __future__ import annotations

import warnings
from typing import Any


def settings() -> dict[str, Any]:
    """What turns it on; to be asked for before a trainer sets the seeds, since importing ModelOpt draws from them."""
    warnings.filterwarnings("ignore", module="modelopt")  # of libraries that it can do without
    from modelopt.torch.quantization import conversion

    conversion.print = lambda *_: None  # it counts aloud what it inserted
    return {"quantize": 8}
