"""OpenVINO, for x86 processors: it reads the ONNX files themselves, in FP32, FP16 and INT8.

What NNCF makes of an ONNX file it runs fast and wrong: its low precision transformations lose the scale of the tensors
at a residual block's Add and Concat (2025.4 to 2026.4 alike). The other quantizers' files give what they give in ONNX
Runtime.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from secateur.errors import ExportError, SpecError
from secateur.processor import BF16_PRODUCTS, here, usable_cores
from secateur.runtimes import _settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from secateur.ports import Image


@dataclass(frozen=True)
class Openvino:
    """`threads=0` uses every core this process may run on; `precision` is that of what is not INT8 in the file.

    `round_to` is what its kernels like channel counts to be a multiple of: they hold sixteen channels side by side.
    """

    name: ClassVar[str] = "openvino"
    libraries: ClassVar[tuple[str, ...]] = ("openvino",)
    threads: int = 2
    precision: Literal["f32", "bf16"] = "f32"
    round_to: int = 16

    def __post_init__(self) -> None:
        _settings.check(self.threads, self.round_to)
        if self.precision not in ("f32", "bf16"):
            raise ValueError(f"precision must be f32 or bf16, got {self.precision!r}")

    def check(self) -> None:
        """Raises SpecError where OpenVINO is not installed, or the processor cannot multiply in that precision."""
        if find_spec("openvino") is None:
            raise SpecError("runtime=openvino needs OpenVINO: pip install 'secateur[openvino]'")
        _, flags = here()
        if self.precision == "bf16" and not BF16_PRODUCTS.intersection(flags):
            wanted = ", ".join(sorted(BF16_PRODUCTS))
            raise SpecError(
                f"runtime.precision=bf16 needs a processor with one of {wanted}: OpenVINO would take no notice of it, "
                "or be slower; take f32"
            )

    def refusal(self, quantization: str, batch: int, dynamic: bool) -> str | None:
        if dynamic:
            return "it takes pictures of one size, export.dynamic=false"
        return "OpenVINO gives wrong outputs of them (docs/runtimes.md)" if quantization == "nncf" else None

    def version(self) -> str:
        return str(_library().__version__).partition("-")[0]

    def open(self, model: Path) -> OpenvinoSession:
        self.check()
        if not model.is_file():
            raise ExportError(f"no model file {model}")
        library = _library()
        try:
            net = _read(model)
            compiled = library.Core().compile_model(net, "CPU", self._options())
        except Exception as error:  # its errors have no base class of their own
            raise ExportError(f"OpenVINO cannot open {model}: {_reason(error)}") from error
        return OpenvinoSession(net, compiled)

    def _options(self) -> dict[str, Any]:
        return {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": self.threads or usable_cores(),
            "ENABLE_HYPER_THREADING": True,  # else there are no more threads than cores, whatever is asked for
            "ENABLE_CPU_PINNING": False,  # a thread that is bound to a core waits while another process has it
            "INFERENCE_PRECISION_HINT": self.precision,
        }


class OpenvinoSession:
    """A model file opened by OpenVINO."""

    def __init__(self, net: Any, compiled: Any) -> None:
        self._request = compiled.create_infer_request()
        self.input_shape: tuple[int, ...] = tuple(compiled.inputs[0].shape)
        self.metadata: Mapping[str, str] = _metadata(net)

    def run(self, image: Image) -> Sequence[NDArray[np.float32]]:
        # inputs are read where they lie; outputs are copied, as the next pass writes into the same memory
        return list(self._request.infer([image], share_inputs=True, share_outputs=False).values())


def _read(model: Path) -> Any:
    """The net, read as ONNX and nothing else: given the choice, OpenVINO tries every format that it knows, aloud."""
    from openvino.frontend import FrontEndManager

    reader = FrontEndManager().load_by_framework("onnx")
    net = reader.convert(reader.load(str(model)))
    if len(net.inputs) != 1 or net.inputs[0].partial_shape.is_dynamic:
        shapes = ", ".join(str(each.partial_shape) for each in net.inputs) or "nothing"
        raise ValueError(f"it takes {shapes}, not pictures of one shape; export it anew")
    return net


def _metadata(net: Any) -> dict[str, str]:
    return dict(net.get_rt_info("framework").value) if net.has_rt_info("framework") else {}


def _library() -> ModuleType:
    """OpenVINO, which reports what it is used for unless it is kept from it."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # not there: OpenVINO goes on without
    import openvino

    library: ModuleType = openvino
    return library


def _reason(error: Exception) -> str:
    """The line that says what is wrong, of all those that say where."""
    lines = [line.strip("- ") for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if line.startswith("No conversion rule")), lines[-1])
