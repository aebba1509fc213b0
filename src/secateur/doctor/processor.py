"""Whether this processor has the instructions that INT8 is fast with, and whether it adds up without overflow."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from secateur.doctor.graph import TO_FLOAT, Graph
from secateur.examination import Finding
from secateur.processor import ARM, ARM_DOT, X86, X86_DOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SEVEN_BITS = 64  # the largest weight that `reduce_range` leaves


def findings(graph: Graph, flags: Collection[str], machine: str, is_quantized: bool) -> list[Finding]:
    """What it lacks for INT8 and what that does, or that the file does not use what it has."""
    if not flags:
        return []  # the system does not tell
    if not is_quantized:
        return _unused(flags, machine)
    if machine in X86 and not X86_DOT & set(flags):
        overflow = [_overflow()] if _has_eight_bit_weights(graph) else []
        return [_slow(f"none of {', '.join(sorted(X86_DOT))}"), *overflow]
    if machine in ARM and not ARM_DOT & set(flags):
        return [_slow(f"neither of {', '.join(sorted(ARM_DOT))}")]
    return []


def _unused(flags: Collection[str], machine: str) -> list[Finding]:
    wanted = X86_DOT if machine in X86 else ARM_DOT
    has = sorted(wanted & set(flags))
    if not has:
        return []
    return [
        Finding(
            "processor", "slow", f"nothing in the file is INT8, for which this processor has {', '.join(has)}",
            "quantization=int8_static",
        )
    ]  # fmt: skip


def _slow(lacks: str) -> Finding:
    return Finding(
        "processor", "slow", f"this processor has {lacks}: 8-bit products take several instructions in place of one",
        "measure INT8 against FP32 here (the runs' candidates are), and expect the size rather than the speed",
    )  # fmt: skip


def _overflow() -> Finding:
    return Finding(
        "saturation", "wrong",
        "signed 8-bit weights times unsigned activations are added up in 16 bits on this processor, which overflow",
        "quantize anew with quantization=int8_static quantization.reduce_range=true (7-bit weights)",
    )  # fmt: skip


def _has_eight_bit_weights(graph: Graph) -> bool:
    return any(np.abs(weights.astype(np.int16)).max() > SEVEN_BITS for weights in _signed_weights(graph))


def _signed_weights(graph: Graph) -> Iterator[NDArray[np.int8]]:
    for node in graph.graph.node:
        if node.op_type == TO_FLOAT and graph.is_weight(node):
            weights = graph.values(node.input[0])
            if weights is not None and weights.dtype == np.int8 and weights.size:
                yield weights
