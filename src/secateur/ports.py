"""The shapes of what can be swapped: parts that people add, doors to foreign libraries, sinks for results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from secateur.matches import Evaluation
    from secateur.results import Accuracy, Epoch, Footprint, Rung, RunReport, Sensitivity, StageRecord
    from secateur.specs import Activation, Distillation, Scope, Training

    Image = NDArray[np.float32]  # (1, 3, height, width), or a stack of them: (batch, …), RGB, 0–1

Progress = Callable[[int, int], None]
"""Called with (done, total) while a stage works."""


@dataclass(frozen=True)
class Watch:
    """Who follows a training: `batch` hears of each batch as (done, total), `epoch` of each epoch, also of those
    that were done before a training that was killed went on."""

    batch: Progress
    epoch: Callable[[Epoch], None]


Gauge = Callable[["nn.Module"], float]
"""Share of the unpruned net's size, or time, that a net lacks."""


# ---- parts: one file + one yaml each ------------------------------------------------------------


Needs = Literal["weights", "gradients", "squared_gradients", "inputs"]
"""What a criterion looks at: the net alone, the gradients of the training loss, summed over pictures or each one's
squared, or what each layer reads."""


@dataclass(frozen=True)
class Reader:
    """A layer that reads a group's channels, as a matrix.

    `weights` is (inputs, outputs), `means` (inputs,) and `covariance` (inputs, inputs) are of what it reads on
    calibration pictures, and `rows` (channels, copies * taps) says which inputs belong to each of the group's channels.
    """

    weights: Tensor
    means: Tensor
    covariance: Tensor
    rows: Tensor


class GroupView(Protocol):
    """Channels that can only be removed together, over all the layers that share them."""

    @property
    def name(self) -> str:
        """Path of its first layer in the net."""

    @property
    def channels(self) -> int:
        """How many there are."""

    def torch_pruning(self, criterion: str, **options: Any) -> Tensor:
        """Scores by the class of that name in `torch_pruning.importance`; (channels,), zeros where it says nothing."""

    def filters(self) -> Sequence[Tensor]:
        """(channels, weights) of each layer that makes these channels."""

    def readers(self) -> Sequence[Reader]:
        """The layers that read these channels; none where the importance does not need `inputs`."""


class Importance(Protocol):
    """A criterion: which channels matter."""

    needs: ClassVar[Needs]
    """What has to be gathered before anything is scored."""

    def score(self, group: GroupView) -> Tensor:
        """(channels,); larger = keep."""


Flow = Callable[["nn.Module", "Tensor"], object]
"""A forward pass in eval mode whose outputs nobody wants."""


@dataclass(frozen=True)
class Cut:
    """A net that lost channels, the net as it was before, the output channels that each layer still has, and how
    pictures are sent through either."""

    net: nn.Module
    before: nn.Module
    kept: dict[str, list[int]]
    flow: Flow


class Healer(Protocol):
    """Mends a pruned net without training: no labels, no gradient step."""

    @property
    def images(self) -> int:
        """How many calibration pictures it wants."""

    def heal(self, cut: Cut, pictures: Tensor, seed: int, progress: Progress) -> None:
        """Changes `cut.net` in place; pictures are (n, 3, height, width), RGB, 0–1."""


class Schedule(Protocol):
    """How the target is approached."""

    target: float
    """Share of the unpruned net's `unit` that is gone in the end, in (0, 1)."""
    unit: str
    """`channels`, `macs`, `params` or `latency`."""

    def rungs(self) -> tuple[float, ...]:
        """Share of the baseline that is gone after each rung, rising, the last equal to `target`."""


class Downloads(Protocol):
    """Fetches what is not here yet."""

    def dataset(self, name: str) -> Path:
        """The data yaml of a published data set, downloaded where it is missing."""


class Dataset(Protocol):
    """Pictures with labels, in YOLO format once written."""

    @property
    def unlabelled(self) -> str | None:
        """A folder of more pictures, without labels."""

    def digest(self, downloads: Downloads) -> str:
        """What the pictures and labels are; the same digest means the same content."""

    def write(self, out: Path, downloads: Downloads) -> None:
        """Fills `out` with data.yaml, images/{train,val} and labels/{train,val}."""


class Session(Protocol):
    """An opened model file, ready to run."""

    input_shape: tuple[int, ...]
    """(batch, 3, height, width); where the file leaves a side open, what it was exported for."""

    metadata: Mapping[str, str]
    """What the file says of itself, under Ultralytics' keys (task, names, imgsz, …); empty where it says nothing."""

    def run(self, image: Image) -> Sequence[NDArray[Any]]:
        """The raw outputs for a stack of pictures, as many as the file takes."""


class Runtime(Protocol):
    """What runs a model file on the device."""

    name: ClassVar[str]
    """What it is asked for by: `runtime=onnxruntime`."""

    @property
    def threads(self) -> int:
        """Threads of one forward pass; 0: every core."""

    @property
    def round_to(self) -> int:
        """Channel counts that are a multiple of this run best."""

    def version(self) -> str:
        """Version of the library."""

    def refusal(self, quantization: str, batch: int, dynamic: bool) -> str | None:
        """Why it does not run the files of a quantization that take so many pictures at once, or any number of any
        size; None where it does."""

    def open(self, model: Path) -> Session:
        """Loads a model file; raises ExportError where it cannot be run."""


@runtime_checkable
class ConvertingRuntime(Protocol):
    """A runtime that does not read ONNX, but a format of its own."""

    def convert(self, model: Path, out: Path) -> None:
        """Writes the folder `out`, which `open` takes, made of an ONNX file; raises ExportError."""


class Quantizer(Protocol):
    """Turns an exported FP32 file into the file that ships."""

    name: ClassVar[str]
    """What it is asked for by, `quantization=fp16`; its files' names have it too."""
    any_shape: ClassVar[bool]
    """Whether the file may take any number of pictures of any size."""

    @property
    def images(self) -> int:
        """How many calibration pictures it wants; 0: none."""

    def quantize(self, model: Path, calibration: Iterable[Image], out: Path) -> None:
        """Writes the file `out`."""


Judge = Callable[[Path], "Accuracy"]
"""Scores a model file on labelled training pictures."""


@runtime_checkable
class GatedQuantizer(Protocol):
    """A quantizer that looks at the accuracy before it settles on a file."""

    @property
    def judged_images(self) -> int:
        """On how many training pictures it has a file scored."""

    def quantize_within(
        self, model: Path, calibration: Iterable[Image], judge: Judge, out: Path, progress: Progress
    ) -> None:
        """Writes the file `out`, whose accuracy is what was asked for."""


# ---- doors: the only way to a foreign library ---------------------------------------------------


Regularizer = Callable[["nn.Module"], Callable[[], None]]
"""Built on the net that is trained; what it returns adds to the gradients of every step, before they are clipped."""


@dataclass(frozen=True)
class Lesson:
    """What a net is trained on: a data yaml, a folder of more pictures without labels, the net to learn from, and what
    is asked of the weights themselves.

    `kept` says which of its teacher's output channels each layer still has; layers that are not named have all.
    `unpruned` is the net that it was cut from, where layers that were left as they were are to stay so. `rounded`: the
    weights of each convolution, and what goes into it, are rounded as in INT8 while it learns.
    """

    data: Path
    distillation: Distillation
    unlabelled: Path | None = None
    teacher: Path | None = None
    kept: Mapping[str, Sequence[int]] = field(default_factory=dict)
    unpruned: Path | None = None
    regularizer: Regularizer | None = None
    rounded: bool = False


class Detector(Protocol):
    """The YOLO door: builds, trains, scores and exports nets."""

    @property
    def processes(self) -> int:
        """How many train a net together, each on its share of a batch."""

    def settled(self, training: Training) -> Training:
        """The same with the precision that `auto` is on this device."""

    def resolve_weights(self, key: str, weights: str) -> Path:
        """A local checkpoint, downloaded where it is a published name; raises StageError where what a person set as
        `key` is none, or is of another task."""

    def check_fits(self, weights: Path, classes: int, labels: str) -> None:
        """Raises SpecError where the net knows another number of classes than the data set has, or segments and that
        has boxes only."""

    def check_teaches(self, teacher: Path, weights: Path, distillation: Distillation) -> None:
        """Raises SpecError where the teacher's outputs cannot be compared with the net's: another task, class count or
        strides, or other box distributions."""

    def train_from_scratch(
        self, architecture: str, data: Path, training: Training, imgsz: int, seed: int, out: Path, watch: Watch
    ) -> tuple[Epoch, ...]:
        """Builds the net, trains it and writes the checkpoint `out`; what each epoch brought."""

    def finetune(
        self, weights: Path, lesson: Lesson, training: Training, imgsz: int, seed: int, out: Path, watch: Watch
    ) -> tuple[Epoch, ...]:
        """Trains a net as it is, pruned shape and all, and writes the checkpoint `out`; what each epoch brought."""

    def annotate(
        self, weights: Path, images: Path, imgsz: int, confidence: float, labels: Path, progress: Progress
    ) -> int:
        """Labels each picture with what the net finds and is so sure of; how many instances there are."""

    def evaluate(self, model: Path | Session, data: Path, imgsz: int, progress: Progress) -> Evaluation:
        """Scores a checkpoint, or an opened file, on the validation pictures, taken in the same order every time."""

    def export_onnx(self, weights: Path, imgsz: int, out: Path, batch: int = 1, dynamic: bool = False) -> None:
        """Writes the net as ONNX, for so many pictures at once; dynamic: for any number of them, of any size."""

    def load(self, weights: Path) -> nn.Module:
        """The net in FP32 on the CPU, its blocks unrolled into layers that can be pruned."""

    def save(self, net: nn.Module, out: Path, imgsz: int | None = None) -> None:
        """Writes a checkpoint that plain Ultralytics opens, and uses at this image size where it is told no other."""

    def swap_activations(self, net: nn.Module, activation: Activation) -> int:
        """Puts it in place of each SiLU, in place; how many there were."""

    def flow(self, net: nn.Module, pictures: Tensor) -> None:
        """A forward pass in eval mode without outputs, which holds no map longer than it is read."""

    def fixed_layers(self, net: nn.Module, head: bool) -> Sequence[nn.Module]:
        """Layers whose outputs must keep their channels: the unprunable ones, and the head's last ones, or all of it
        where `head` is not to be pruned."""

    def unprunable_layers(self, net: nn.Module) -> Mapping[str, str]:
        """Layers, by their path in the net, that cannot be pruned safely, each with the reason."""

    def accumulate_gradients(
        self, net: nn.Module, data: Path, imgsz: int, batches: int, batch: int, seed: int, progress: Progress
    ) -> None:
        """Adds up, in place, the gradients of the training loss over so many batches of plain training pictures."""

    def accumulate_squared_gradients(
        self, net: nn.Module, data: Path, imgsz: int, images: int, seed: int, progress: Progress
    ) -> None:
        """Leaves, in each parameter's `grad`, the mean square of the gradients that so many single pictures give."""


@dataclass(frozen=True)
class Budget:
    """How small the net is to become.

    `gone` says which share of the unpruned net's `unit` a net lacks; it is to come as near to `target` as `tolerance`,
    or as it can. `widths` are the unpruned channels of each group that may be pruned, `fillers` so many portions are
    tried one by one to come nearer.
    """

    target: float
    unit: str
    gone: Gauge
    widths: dict[str, int]
    tolerance: float = 0.0
    fillers: int = 0


@dataclass(frozen=True)
class Pruned:
    """The smaller net, the share that is gone in the budget's unit, and the output channels that each convolution still
    has of the net before."""

    net: nn.Module
    gone: float
    kept: dict[str, list[int]]


class ChannelPruner(Protocol):
    """The pruning door: knows which channels hang together."""

    def norms(self, net: nn.Module, fixed: Sequence[nn.Module]) -> Sequence[Tensor]:
        """Of each group that may be pruned, (channels,): the norm of all the weights that go with a channel."""

    def regularizer(self, net: nn.Module, fixed: Sequence[nn.Module], strength: float) -> Callable[[], None]:
        """Adds, to the gradients that lie in the net, what shrinks the channels that may be pruned: the weaker a
        channel is in its group, the more."""

    def footprint(self, net: nn.Module, imgsz: int) -> Footprint:
        """Parameters and MACs of the net."""

    def channels(self, net: nn.Module) -> dict[str, list[int]]:
        """The output channels that each convolution has: all of them, as `Pruned.kept` tells of those that are left."""

    def widths(self, net: nn.Module, fixed: Sequence[nn.Module], imgsz: int) -> dict[str, int]:
        """Channels of each group that may be pruned, by the name of its first layer."""

    def prune(
        self,
        net: nn.Module,
        fixed: Sequence[nn.Module],
        importance: Importance,
        scope: Scope,
        budget: Budget,
        imgsz: int,
        pictures: Tensor | None = None,
        sensitivity: Sensitivity | None = None,
    ) -> Pruned:
        """A smaller copy of the net; raises GraphError where the budget is out of reach.

        `pictures` (n, 3, height, width) are for an importance that needs `inputs`, `sensitivity` for a scope of that
        kind.
        """

    def narrowed(
        self,
        net: nn.Module,
        fixed: Sequence[nn.Module],
        importance: Importance,
        ratios: Sequence[float],
        imgsz: int,
        pictures: Tensor | None = None,
    ) -> Iterator[tuple[str, nn.Module]]:
        """Each group's name with a copy of the net in which it alone lost that share of its channels: all ratios of the
        first group, all of the second, …"""


class Sink(Protocol):
    """Takes results as they come."""

    def stage_started(self, stage: str, label: str) -> None:
        """A stage begins."""

    def stage_finished(self, record: StageRecord) -> None:
        """A stage is done, or its result was found in the store."""

    def epoch_finished(self, label: str, rung: int | None, epoch: Epoch) -> None:
        """An epoch of the training that goes on is done; the same one may be told again."""

    def rung_finished(self, rung: Rung) -> None:
        """A rung is scored."""

    def run_finished(self, report: RunReport) -> None:
        """The run is over, well or not."""


class Machine(Protocol):
    """Where several jobs may work at once."""

    def shared(self) -> AbstractContextManager[object]:
        """For what computes: beside others, but beside nobody who takes the clock."""
        ...

    def alone(self) -> AbstractContextManager[object]:
        """For what takes the clock."""
        ...


class Undisturbed:
    """A machine that no other job works on."""

    def shared(self) -> AbstractContextManager[object]:
        return nullcontext()

    def alone(self) -> AbstractContextManager[object]:
        return nullcontext()


@dataclass(frozen=True)
class Tools:
    """What stages work with; nothing here changes a result, only how fast it comes."""

    detector: Detector
    pruner: ChannelPruner
    downloads: Downloads
    progress: Progress
    epoch: Callable[[Epoch], None] = field(default=lambda epoch: None)
    machine: Machine = field(default_factory=Undisturbed)

    @property
    def watch(self) -> Watch:
        """What a training tells of itself, as these tools hear it."""
        return Watch(self.progress, self.epoch)
