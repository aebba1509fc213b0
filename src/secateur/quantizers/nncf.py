"""INT8 by NNCF, as OpenVINO has it: the convolutions on integers, each bias corrected by what rounding moved it.

It rounds what goes into a convolution and leaves the SiLU behind it to OpenVINO, which fuses the two. ONNX Runtime has
a convolution on integers only between two roundings: there these files are slower than FP32. OpenVINO up to 2026.4 runs
those of YOLO nets wrong: docs/runtimes.md. Take `int8_static` for either, and `nncf` for other readers of ONNX.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from secateur.errors import ExportError, SpecError
from secateur.quantizers import _graph

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import ModelProto

    from secateur.ports import Image

VERSION = 1  # raise when the same fields give another file


@dataclass(frozen=True)
class Nncf:
    """Under NNCF's names for the settings; the last convolutions and the decode stay in float, as in `int8_static`.

    Without `fast_bias_correction` the pictures are held in memory, and sent through the net once for each convolution.
    """

    name: ClassVar[str] = "nncf"
    any_shape: ClassVar[bool] = False
    libraries: ClassVar[tuple[str, ...]] = ("nncf",)
    images: int = 128
    preset: Literal["performance", "mixed"] = "mixed"
    fast_bias_correction: bool = True

    def __post_init__(self) -> None:
        if self.images < 1:
            raise ValueError(f"images must be 1 or more, got {self.images}")
        if self.preset not in ("performance", "mixed"):
            raise ValueError(f"preset must be performance or mixed, got {self.preset!r}")

    def check(self) -> None:
        """Raises SpecError where NNCF is not installed."""
        if find_spec("nncf") is None:
            raise SpecError("quantization=nncf needs NNCF: pip install 'secateur[nncf]'")

    def quantize(self, model: Path, calibration: Iterable[Image], out: Path) -> None:
        """Writes `out`; raises ExportError where the model cannot be taken or no picture came."""
        self.check()
        import onnx

        net = _graph.read(model)
        _graph.require_one_shape(net, model)
        stacks = _stacks(net, calibration)
        first = next(stacks, None)
        if first is None:
            raise ExportError(f"cannot quantize {model}: no calibration pictures came")
        onnx.save(self._quantized(net, chain([first], stacks)), out)

    def _quantized(self, net: ModelProto, stacks: Iterable[dict[str, Any]]) -> ModelProto:
        nncf = _library()
        quantized: ModelProto = nncf.quantize(
            net,
            nncf.Dataset(stacks if self.fast_bias_correction else list(stacks)),
            preset=nncf.QuantizationPreset(self.preset),
            target_device=nncf.TargetDevice.CPU,  # the other devices get the same file
            subset_size=self.images,
            fast_bias_correction=self.fast_bias_correction,
            ignored_scope=nncf.IgnoredScope(names=sorted(_graph.float_nodes(net.graph))),
        )
        return quantized


def _stacks(net: ModelProto, pictures: Iterable[Image]) -> Iterator[dict[str, Image]]:
    """Each picture as often as the net takes pictures at once: NNCF looks at a stack as at one picture, so that a stack
    of different ones would widen each range."""
    return ({net.graph.input[0].name: np.repeat(picture, _graph.batch_of(net), axis=0)} for picture in pictures)


def _library() -> ModuleType:
    """NNCF, which reports what it is used for, writes to the home folder and draws bars of its own unless it is kept
    from it."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # not there: NNCF goes on without
    import nncf
    from nncf.common.logging import track_progress

    logging.getLogger("nncf").setLevel(logging.ERROR)  # set_log_level would quiet others' handlers too
    track_progress.Progress = _no_bars()
    library: ModuleType = nncf
    return library


def _no_bars() -> type:
    from rich.progress import Progress

    class NoBars(Progress):
        def __init__(self, *columns: Any, **options: Any) -> None:
            super().__init__(*columns, **options | {"disable": True})

    return NoBars
