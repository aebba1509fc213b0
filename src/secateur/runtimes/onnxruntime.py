"""ONNX Runtime: the reference runtime, on all that has a wheel of it."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

from secateur.errors import ExportError, SpecError
from secateur.examination import NodeTime, Profile
from secateur.intake import shape_of
from secateur.processor import usable_cores
from secateur.runtimes import _settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from secateur.ports import Image


KERNEL = "_kernel_time"  # how the profiler ends the name of a node that it timed
MOST_PASSES = 100  # of a profile: each is hundreds of events in a file
CPU = "CPUExecutionProvider"
HELPERS = {"TensorrtExecutionProvider": "CUDAExecutionProvider"}
"""What takes the nodes that a provider does not take, before the CPU does."""


@dataclass(frozen=True)
class Onnxruntime:
    """`threads=0` uses every core this process may run on; `provider` is an execution provider's name, and
    `provider_options` are its own. What it does not take runs on the CPU.

    `round_to` is what its kernels like channel counts to be a multiple of: what a scope takes where it is told nothing.
    """

    name: ClassVar[str] = "onnxruntime"
    threads: int = 2
    provider: str = CPU
    provider_options: dict[str, str | int] = field(default_factory=dict)
    round_to: int = 8

    def __post_init__(self) -> None:
        _settings.check(self.threads, self.round_to)
        if self.provider == CPU and self.provider_options:
            raise ValueError(
                f"provider_options must be empty with {CPU}, which takes none, got {self.provider_options}"
            )

    def check(self) -> None:
        """Raises SpecError where this build of ONNX Runtime does not have the provider."""
        if self.provider == CPU:  # in every build, so that the library need not be asked
            return
        available = self.providers()
        if self.provider not in available:
            raise SpecError(
                f"runtime.provider: this ONNX Runtime has no {self.provider!r}; there are {', '.join(available)}"
            )

    def refusal(self, quantization: str, batch: int, dynamic: bool) -> str | None:
        return None

    def version(self) -> str:
        return str(_library().__version__)

    def providers(self) -> list[str]:
        """Those that this build of ONNX Runtime has; whether one starts, only opening a file tells."""
        return list(_library().get_available_providers())

    def open(self, model: Path) -> OnnxSession:
        self.check()
        return OnnxSession(self._load(model, self._options()))

    def profile(self, model: Path, image: Image, seconds: float, warmup_seconds: float, optimized: Path) -> Profile:
        """Times each node of the graph as it runs it, after fusion, and writes that graph to `optimized`.

        Run it in a process that does nothing else. The file that is written fits this processor only.
        """
        self.check()
        options = self._options()
        options.optimized_model_filepath = str(optimized)
        options.enable_profiling = True
        with TemporaryDirectory(prefix="secateur-") as folder:
            options.profile_file_prefix = str(Path(folder) / "profile")
            session = self._load(model, options)
            name = session.get_inputs()[0].name
            warm = _passes(session, name, image, warmup_seconds)
            passes = _passes(session, name, image, seconds)
            events = json.loads(Path(session.end_profiling()).read_bytes())
        pass_ms, nodes = _medians(events, warm)
        threads = self.threads or usable_cores()
        return Profile(self.name, self.version(), threads, passes, pass_ms, nodes)

    def _load(self, model: Path, options: Any) -> Any:
        if not model.is_file():
            raise ExportError(f"no model file {model}")
        try:
            session = _library().InferenceSession(str(model), options, providers=self._providers())
        except Exception as error:  # its errors have no base class of their own
            raise ExportError(f"ONNX Runtime cannot open {model}: {_first_line(error)}") from error
        if session.get_providers()[0] != self.provider:  # it falls back to the CPU without an error
            raise ExportError(f"'{self.provider}' could not start for {model}; its libraries or its device are missing")
        return session

    def _providers(self) -> list[tuple[str, dict[str, str]]]:
        """The one that was asked for comes first."""
        own = {name: str(value) for name, value in self.provider_options.items()}
        helper = HELPERS.get(self.provider)
        is_there = helper in self.providers()
        return [(self.provider, own), *([(helper, dict[str, str]())] if helper and is_there else [])]

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
        self.metadata: Mapping[str, str] = session.get_modelmeta().custom_metadata_map
        self.input_shape = shape_of(self._input.shape, self.metadata)
        self.takes_any_shape = self.input_shape != tuple(self._input.shape)

    def run(self, image: Image) -> Sequence[NDArray[np.float32]]:
        outputs: Sequence[NDArray[np.float32]] = self._session.run(None, {self._input.name: image})
        return outputs


def _passes(session: Any, name: str, image: Image, seconds: float) -> int:
    """Runs for so long, but not more than MOST_PASSES times; how many passes that were."""
    end = time.perf_counter() + seconds
    for done in range(1, MOST_PASSES + 1):
        session.run(None, {name: image})
        if time.perf_counter() > end:
            return done
    return MOST_PASSES


def _medians(events: Iterable[dict[str, Any]], warm: int) -> tuple[float, tuple[NodeTime, ...]]:
    """Milliseconds of a whole pass and of each node, in the order they run in, without the first passes."""
    passes: list[float] = []
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event["name"] == "model_run":
            passes.append(event["dur"] / 1000)
        elif event["name"].endswith(KERNEL):
            times[event["name"].removesuffix(KERNEL), event["args"]["op_name"]].append(event["dur"] / 1000)
    nodes = tuple(NodeTime(name, kind, statistics.median(ms[warm:])) for (name, kind), ms in times.items())
    return statistics.median(passes[warm:]), nodes


def _library() -> ModuleType:
    """ONNX Runtime, which calls home and writes to the home folder unless it is told not to before it is imported."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    library: ModuleType = onnxruntime
    return library


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
