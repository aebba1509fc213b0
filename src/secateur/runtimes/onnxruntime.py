"""ONNX Runtime: the reference runtime, on all that has a wheel of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

from secateur.errors import ExportError
from secateur.processor import usable_cores

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from secateur.ports import Image


@dataclass(frozen=True)
class Onnxruntime:
    """`threads=0` uses every core this process may run on; `provider` is an execution provider's name.

    `round_to` is what its kernels like channel counts to be a multiple of: what a scope takes where it is told nothing.
    """

    name: ClassVar[str] = "onnxruntime"
    threads: int = 2
    provider: str = "CPUExecutionProvider"
    round_to: int = 8

    def __post_init__(self) -> None:
        if self.threads < 0:
            raise ValueError(f"threads must be 0 (all cores) or more, got {self.threads}")
        if self.round_to < 1:
            raise ValueError(f"round_to must be 1 or more, got {self.round_to}")

    def version(self) -> str:
        return str(_library().__version__)

    def open(self, model: Path) -> OnnxSession:
        self._check_provider()
        return OnnxSession(self._load(model))

    def _check_provider(self) -> None:
        available = _library().get_available_providers()
        if self.provider not in available:
            raise ExportError(f"ONNX Runtime has no provider '{self.provider}' here; there are {', '.join(available)}")

    def _load(self, model: Path) -> Any:
        if not model.is_file():
            raise ExportError(f"no model file {model}")
        try:
            session = _library().InferenceSession(str(model), self._options(), providers=[self.provider])
        except Exception as error:  # its errors have no base class of their own
            raise ExportError(f"ONNX Runtime cannot open {model}: {_first_line(error)}") from error
        if session.get_providers()[0] != self.provider:  # it falls back to the CPU without an error
            raise ExportError(f"'{self.provider}' could not start for {model}; its libraries or its device are missing")
        return session

    def _options(self) -> Any:
        library = _library()
        options = library.SessionOptions()
        options.graph_optimization_level = library.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.intra_op_num_threads = self.threads or usable_cores()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors only
        return options


class OnnxSession:
    """A model file opened by ONNX Runtime."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._input = session.get_inputs()[0]
        self.input_shape: tuple[int, ...] = tuple(self._input.shape)

    def run(self, image: Image) -> Sequence[NDArray[np.float32]]:
        outputs: Sequence[NDArray[np.float32]] = self._session.run(None, {self._input.name: image})
        return outputs


def _library() -> ModuleType:
    """ONNX Runtime, which calls home and writes to the home folder unless it is told not to before it is imported."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    library: ModuleType = onnxruntime
    return library


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
