"""ncnn: for phones and small boards; it has a format of its own, into which pnnx turns an ONNX file.

`convert` takes pnnx and ONNX Runtime; a device needs ncnn alone.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import msgspec
import numpy as np

from secateur.errors import ExportError, SpecError
from secateur.processor import BF16_PRODUCTS, FP16_PRODUCTS, here, usable_cores
from secateur.runtimes import _settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from secateur.ports import Image

    Outputs = Sequence[NDArray[np.float32]]

Precision = Literal["f32", "f16", "bf16"]
NEEDED = {"f16": FP16_PRODUCTS, "bf16": BF16_PRODUCTS}
TOLERANCE = {"f32": 1e-4, "f16": 2e-2, "bf16": 1e-4}
"""How far a converted net may be from the ONNX file, as share of an output's range: f16 rounds the weights too."""
PARAM, BIN, ABOUT = "model.ncnn.param", "model.ncnn.bin", "metadata.json"


@dataclass(frozen=True)
class Ncnn:
    """`threads=0` uses every core this process may run on; `precision` is that of the numbers it computes with.

    `round_to` is what its kernels like channel counts to be a multiple of.
    """

    name: ClassVar[str] = "ncnn"
    libraries: ClassVar[tuple[str, ...]] = ("ncnn", "pnnx")
    threads: int = 2
    precision: Precision = "f32"
    round_to: int = 16

    def __post_init__(self) -> None:
        _settings.check(self.threads, self.round_to)
        if self.precision not in get_args(Precision):
            raise ValueError(f"precision must be one of {', '.join(get_args(Precision))}, got {self.precision!r}")

    def check(self) -> None:
        """Raises SpecError where ncnn or pnnx is not installed, or the processor cannot multiply in that precision."""
        self._check_device()
        if find_spec("pnnx") is None:
            raise SpecError("runtime=ncnn needs pnnx to convert what was exported: pip install 'secateur[pnnx]'")

    def refusal(self, quantization: str, batch: int, dynamic: bool) -> str | None:
        if batch > 1 or dynamic:
            return "it takes one picture of one size at a time, export.batch=1 export.dynamic=false"
        return None if quantization == "fp32" else "pnnx converts those of quantization=fp32 only"

    def version(self) -> str:
        return str(_library().__version__)

    def convert(self, model: Path, out: Path) -> None:
        """Writes the folder `out` and nothing else; raises ExportError where what pnnx makes is not the same net."""
        from secateur.runtimes.onnxruntime import Onnxruntime

        self.check()
        reference = Onnxruntime(threads=1).open(model)
        if reference.takes_any_shape:
            raise ExportError(f"cannot convert {model}: its input takes any size; export it anew, with one shape")
        picture = np.random.default_rng(0).random(reference.input_shape, np.float32)
        wanted = reference.run(picture)
        with TemporaryDirectory(prefix="secateur-ncnn-") as scratch:
            folder = Path(scratch) / "folder"
            folder.mkdir()
            self._run_pnnx(model, Path(scratch), folder)
            _describe(folder, reference.input_shape, [output.shape for output in wanted], reference.metadata)
            given = Ncnn(threads=1).open(folder).run(picture)
            if not _agree(given, wanted, TOLERANCE[self.precision]):
                raise ExportError(f"cannot convert {model}: ncnn gives other outputs than ONNX Runtime")
            shutil.copytree(folder, out, dirs_exist_ok=True)

    def open(self, model: Path) -> NcnnSession:
        """Loads a folder that `convert` wrote."""
        self._check_device()
        about = _read(model)
        library = _library()
        net = library.Net()
        net.opt.use_vulkan_compute = False
        net.opt.num_threads = self.threads or usable_cores()
        net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = self.precision == "f16"
        net.opt.use_bf16_storage = self.precision == "bf16"
        if net.load_param(str(model / PARAM)) or net.load_model(str(model / BIN)):
            raise ExportError(f"ncnn {self.version()} cannot open {model}; convert it anew")
        return NcnnSession(library, net, about)

    def _check_device(self) -> None:
        if find_spec("ncnn") is None:
            raise SpecError("runtime=ncnn needs ncnn: pip install 'secateur[ncnn]'")
        _, flags = here()
        if self.precision != "f32" and not NEEDED[self.precision].intersection(flags):
            wanted = ", ".join(sorted(NEEDED[self.precision]))
            raise SpecError(
                f"runtime.precision={self.precision} needs a processor with one of {wanted}: ncnn would take no notice "
                "of it, or be slower; take f32"
            )

    def _run_pnnx(self, model: Path, scratch: Path, folder: Path) -> None:
        """In a process of its own, which may crash, in a folder of its own, which it fills with what nobody needs."""
        (scratch / "model.onnx").symlink_to(model.resolve())
        command = [str(_pnnx()), "model.onnx", f"fp16={int(self.precision == 'f16')}"]
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode or not all((scratch / name).is_file() for name in (PARAM, BIN)):
            last = done.stderr.strip().rpartition("\n")[2]
            raise ExportError(f"pnnx cannot convert {model} (exit code {done.returncode}): {last}")
        for name in (PARAM, BIN):
            shutil.move(scratch / name, folder / name)


@dataclass(frozen=True)
class About:
    """`metadata.json`: what ncnn's own files do not hold."""

    input_shape: tuple[int, ...]
    output_shapes: tuple[tuple[int, ...], ...]
    metadata: dict[str, str]
    sha256: dict[str, str]


class NcnnSession:
    """A folder opened by ncnn."""

    def __init__(self, library: ModuleType, net: Any, about: About) -> None:
        self._library = library
        self._net = net
        self._shapes = about.output_shapes
        self.input_shape: tuple[int, ...] = about.input_shape
        self.metadata: Mapping[str, str] = about.metadata

    def run(self, image: Image) -> Outputs:
        if image.shape != self.input_shape:  # ncnn would take it, and give something
            raise ExportError(f"the net takes {list(self.input_shape)}, got a picture of {list(image.shape)}")
        picture = np.ascontiguousarray(image[0])  # has a name, since a Mat does not keep alive what it looks at
        extractor = self._net.create_extractor()
        extractor.input("in0", self._library.Mat(picture).clone())  # it may compute in place
        return [self._output(extractor, index, shape) for index, shape in enumerate(self._shapes)]

    def _output(self, extractor: Any, index: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
        _, output = extractor.extract(f"out{index}")
        return np.array(output, np.float32).reshape(shape)  # ncnn knows no batch


def _pnnx() -> Path:
    """The program in the package, which is not imported: that would import torch, and the program needs none."""
    spec = find_spec("pnnx")
    assert spec and spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations))) / "pnnx"


def _describe(
    folder: Path, input_shape: Sequence[int], output_shapes: Sequence[Sequence[int]], metadata: Mapping[str, str]
) -> None:
    """Writes down what ncnn's own files do not hold."""
    about = About(tuple(input_shape), tuple(map(tuple, output_shapes)), dict(metadata), _digests(folder))
    (folder / ABOUT).write_text(json.dumps(asdict(about), indent=2) + "\n", encoding="utf-8")


def _read(model: Path) -> About:
    """What is written of a converted net; of a broken one ncnn itself says nothing, or too much."""
    if not model.is_dir():
        raise ExportError(f"no folder {model} with a net for ncnn; runs with runtime=ncnn make one")
    try:
        about = msgspec.json.decode((model / ABOUT).read_bytes(), type=About)
        whole = about.sha256 == _digests(model)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ExportError(f"cannot open {model}: its {ABOUT} cannot be read; convert it anew") from error
    if not whole:
        raise ExportError(f"cannot open {model}: its {PARAM} or {BIN} is not what was written; convert it anew")
    return about


def _digests(folder: Path) -> dict[str, str]:
    """Of the files that are there."""
    there = [name for name in (PARAM, BIN) if (folder / name).is_file()]
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in there}


def _agree(given: Outputs, wanted: Outputs, tolerance: float) -> bool:
    return all(np.abs(g - w).max() <= tolerance * np.ptp(w) for g, w in zip(given, wanted, strict=True))


def _library() -> ModuleType:
    import ncnn

    library: ModuleType = ncnn
    return library
