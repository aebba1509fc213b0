"""What one run is: plain frozen values, checked once, here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from secateur.errors import require
from secateur.manifest import NAME
from secateur.ports import Dataset, Healer, Importance, Quantizer, Runtime, Schedule
from secateur.results import Fingerprint

PLACE = {"place": True}
"""Metadata of a field that says where something lies, not what it is: no part of a key."""


Precision = Literal["auto", "fp32", "bf16", "fp16"]
"""Of the numbers that a training multiplies; `auto` is bf16 where the device has it in hardware, and FP32 elsewhere."""

Activation = Literal["silu", "relu", "hardswish"]
"""What stands behind each convolution; YOLO's own is SiLU."""

SHARES = ("momentum", "weight_decay", "mosaic", "hsv_h", "hsv_s", "hsv_v", "translate", "scale", "fliplr")
"""Settings of a training that Ultralytics takes from 0 to 1 only."""


@dataclass(frozen=True)
class Training:
    """How a net is trained, under Ultralytics' names for the settings; `epochs=0` leaves the net as it is, and so does
    the optimizer `none`, however many epochs there are.

    `last_epochs` are those after the last rung, where they are to be other than `epochs`, those after each. Layers that
    are frozen as `untouched` are those that lost no channel and read none but such.
    """

    epochs: int
    last_epochs: int | None
    batch: int
    precision: Precision
    optimizer: Literal["SGD", "Adam", "AdamW", "MuSGD", "none"]
    lr0: float
    lrf: float
    cos_lr: bool
    momentum: float
    weight_decay: float
    warmup_epochs: float
    patience: int
    freeze_batchnorm: bool
    freeze: Literal["none", "untouched"]
    ema_decay: float
    ema_tau: float
    mosaic: float
    close_mosaic: int
    hsv_h: float
    hsv_s: float
    hsv_v: float
    degrees: float
    translate: float
    scale: float
    fliplr: float

    def __post_init__(self) -> None:
        require(self.epochs >= 0, f"epochs must be 0 or more, got {self.epochs}")
        last = self.last_epochs
        require(last is None or last >= 0, f"last_epochs must be 0 or more, or null for as many as epochs, got {last}")
        require(self.batch >= 1, f"batch must be 1 or more, got {self.batch}")
        require(0 < self.lr0 <= 1, f"lr0 must be in (0, 1], got {self.lr0}")
        require(0 < self.lrf <= 1, f"lrf must be in (0, 1], got {self.lrf}")
        require(self.warmup_epochs >= 0, f"warmup_epochs must be 0 or more, got {self.warmup_epochs}")
        require(self.patience >= 0, f"patience must be 0 (never stop early) or more, got {self.patience}")
        require(0 <= self.ema_decay < 1, f"ema_decay must be in [0, 1), got {self.ema_decay}")
        require(self.ema_tau > 0, f"ema_tau must be above 0, got {self.ema_tau}")
        require(self.close_mosaic >= 0, f"close_mosaic must be 0 or more, got {self.close_mosaic}")
        for name in SHARES:
            require(0 <= getattr(self, name) <= 1, f"{name} must be in [0, 1], got {getattr(self, name)}")

    def of_rung(self, last: bool) -> Training:
        """As it is done after a rung."""
        epochs = self.last_epochs if last and self.last_epochs is not None else self.epochs
        return replace(self, epochs=0 if self.never else epochs, last_epochs=None)

    @property
    def never(self) -> bool:
        """Whether it has no optimizer, or no epochs, neither after the last rung nor after any other."""
        return self.optimizer == "none" or not (self.epochs or self.last_epochs)


def require_alone(training: Training) -> None:
    """Raises ValueError where a training that follows no rung is set up as one that does, or as none."""
    require(training.freeze == "none", f"training.freeze must be none before anything is pruned, got {training.freeze}")
    last = training.last_epochs
    require(last is None, f"training.last_epochs must be null, since it follows no rung, got {last}")
    require(training.optimizer != "none", "training.optimizer must be another than none, which trains nothing")


DENSE = ("classes", "boxes", "coefficients", "prototypes", "masks", "neck")
"""Terms of a distillation that need no label."""
MASKS = ("coefficients", "prototypes", "masks")
"""Those of them that a detector does not know."""
OWN = ("coefficients", "prototypes", "neck")
"""Those of them that compare channel by channel, which only the unpruned net itself allows."""


@dataclass(frozen=True)
class Distillation:
    """What fine-tuning learns from: weights of its losses; 0 leaves one out.

    `labels` weighs the ordinary training loss. The dense terms have the net give what its teacher gives at every
    position of every picture, labelled or not: `classes`, `boxes`, mask `coefficients` and `prototypes`, the `masks`
    that come of both, and the `neck`'s maps on the channels that are left. `features` is Ultralytics' own distillation
    of the neck.
    """

    labels: float = 1.0
    classes: float = 0.0
    boxes: float = 0.0
    coefficients: float = 0.0
    prototypes: float = 0.0
    masks: float = 0.0
    neck: float = 0.0
    features: float = 0.0
    confidence: float = 0.5
    """What the teacher must be sure of to label a picture that has no labels, where labels count."""
    teacher: str | None = field(default=None, metadata=PLACE)
    """Another checkpoint to learn from than the unpruned net."""

    def __post_init__(self) -> None:
        for name in ("labels", *DENSE, "features"):
            require(getattr(self, name) >= 0, f"{name} must be 0 or more, got {getattr(self, name)}")
        require(0 < self.confidence < 1, f"confidence must be in (0, 1), got {self.confidence}")
        require(self.labels > 0 or self.dense, f"labels, or one of {', '.join(DENSE)}, must be above 0")
        require(not (self.features and self.dense), "features cannot be combined with the dense terms")
        for name in OWN if self.teacher else ():
            require(
                getattr(self, name) == 0,
                f"{name} must be 0 with a teacher of your own, whose channels are not the unpruned net's; "
                "distillation=other_teacher goes without",
            )

    @property
    def dense(self) -> bool:
        """Whether the teacher's raw outputs are learnt from."""
        return any(getattr(self, name) for name in DENSE)

    @property
    def has_teacher(self) -> bool:
        """Whether anything is learnt from one: by the dense terms, or by `features`."""
        return self.dense or self.features > 0


@dataclass(frozen=True)
class Sparsity:
    """A training before anything is pruned, on labels, in which weak channels are shrunk on the way.

    `strength` weighs what is added to the gradients of the loss, λ in Fang et al. 2023 (DepGraph).
    """

    strength: float
    training: Training

    def __post_init__(self) -> None:
        require(self.strength >= 0, f"strength must be 0 or more, got {self.strength}")
        require_alone(self.training)
        require(self.training.epochs > 0, "training.epochs must be 1 or more; for none take sparsity=none")
        require(
            self.training.precision != "fp16", "training.precision must be auto, bf16 or fp32: fp16 scales gradients"
        )


@dataclass(frozen=True)
class Model:
    """Where the net comes from: a checkpoint, or an architecture that is trained from scratch."""

    weights: str | None = None
    architecture: str | None = None
    training: Training | None = None

    def __post_init__(self) -> None:
        from_scratch = self.architecture is not None and self.training is not None
        require(
            (self.weights is not None) != from_scratch,
            "either weights, or an architecture and a training to start from scratch, must be given",
        )
        if self.training:
            require_alone(self.training)


@dataclass(frozen=True)
class Scope:
    """Where channels may be taken, and in which portions."""

    kind: Literal["local", "global", "isomorphic", "sensitivity"] = "local"
    """Who competes: nobody (each gives the same share), all, or groups of one structure; or what each costs alone."""
    head: bool = True
    """Prune inside the head too; its outputs, the DFL and the prototype count always stay."""
    max_ratio: float = 0.8
    """The largest share of a group's channels that may go."""
    round_to: int = 8
    """Channel counts become multiples of this, where a group is wide enough."""
    per_mac: bool = False
    """Rank channels by score per MAC that goes with them; only where they compete."""
    keep: tuple[str, ...] = ()
    """Patterns (`model.0.*`) of layers that keep all their channels, named as `secateur sensitivity` names them."""

    def __post_init__(self) -> None:
        require(0 < self.max_ratio < 1, f"max_ratio must be in (0, 1), got {self.max_ratio}")
        require(self.round_to >= 1, f"round_to must be 1 or more, got {self.round_to}")


@dataclass(frozen=True)
class Evidence:
    """The training pictures that criteria look at, for gradients or for what each layer reads."""

    batches: int
    batch: int

    def __post_init__(self) -> None:
        require(self.batches >= 1, f"batches must be 1 or more, got {self.batches}")
        require(self.batch >= 1, f"batch must be 1 or more, got {self.batch}")


@dataclass(frozen=True)
class Benchmark:
    """How long is measured: `rounds` fresh processes a candidate, each `seconds` long after `warmup_seconds`."""

    rounds: int
    seconds: float
    warmup_seconds: float

    def __post_init__(self) -> None:
        require(self.rounds >= 2, f"rounds must be 2 or more, got {self.rounds}")
        require(self.seconds > 0, f"seconds must be above 0, got {self.seconds}")
        require(self.warmup_seconds >= 0, f"warmup_seconds must be 0 or more, got {self.warmup_seconds}")


@dataclass(frozen=True)
class Export:
    """How the files that could ship take their pictures: `batch` at once, or, if `dynamic`, any number of any size.

    A dynamic file is calibrated, scored and timed with `batch` pictures of the run's size.
    """

    batch: int = 1
    dynamic: bool = False

    def __post_init__(self) -> None:
        require(self.batch >= 1, f"batch must be 1 or more, got {self.batch}")


@dataclass(frozen=True)
class Timer:
    """What runs a file, and the device that what is measured of it holds for."""

    runtime: Runtime
    runtime_version: str
    fingerprint: Fingerprint

    @property
    def without_clock(self) -> Timer:
        """For what a file gives, which does not depend on how the cores' clock is set."""
        return replace(self, fingerprint=replace(self.fingerprint, governor=None))


@dataclass(frozen=True)
class Probes:
    """How sensitivity is measured: each group alone at each of `ratios`, scored on so many training pictures."""

    ratios: tuple[float, ...]
    images: int

    def __post_init__(self) -> None:
        rising = all(0 < ratio < 1 for ratio in self.ratios) and list(self.ratios) == sorted(set(self.ratios))
        require(bool(self.ratios) and rising, f"ratios must rise within (0, 1), got {list(self.ratios)}")
        require(self.images >= 1, f"images must be 1 or more, got {self.images}")


@dataclass(frozen=True)
class RunSpec:
    """One run, whole."""

    name: str
    model: Model
    dataset: Dataset
    importance: Importance
    evidence: Evidence
    scope: Scope
    sensitivity: Probes
    schedule: Schedule | None
    sparsity: Sparsity | None
    activation: Activation
    healing: Healer | None
    finetune: Training
    distillation: Distillation
    max_map_drop: float | None
    patience: int
    quantization: Quantizer
    runtime: Runtime
    export: Export
    benchmark: Benchmark
    imgsz: int
    seed: int

    def __post_init__(self) -> None:
        require(
            bool(NAME.fullmatch(self.name)),
            f"name must be of letters, digits, '_', '.', '+' and '-', the first a letter or digit, got {self.name!r}",
        )
        require(
            self.max_map_drop is None or 0 < self.max_map_drop <= 1,
            f"max_map_drop must be in (0, 1], got {self.max_map_drop}",
        )
        require(self.patience >= 0, f"patience must be 0 or more rungs, got {self.patience}")
        require(
            self.sparsity is None or self.finetune.freeze == "none" or self.finetune.never,
            "finetune.freeze must be none with sparsity, which changes every layer, got untouched",
        )
        require(
            self.activation == "silu" or self.finetune.freeze == "none" or self.finetune.never,
            f"finetune.freeze must be none with activation={self.activation}, which changes every layer, got untouched",
        )
        require(
            self.schedule is not None or (self.sparsity is None and self.activation == "silu"),
            "schedule=none prunes nothing, so that sparsity must be none and activation silu",
        )
        require(
            not self.export.dynamic or self.quantization.any_shape,
            f"export.dynamic must be false with quantization={self.quantization.name}, which takes one shape only",
        )
        refusal = self.runtime.refusal(self.quantization.name, self.export.batch, self.export.dynamic)
        require(
            refusal is None, f"runtime={self.runtime.name} does not run {self.quantization.name}'s files: {refusal}"
        )
        require(self.imgsz > 0 and self.imgsz % 32 == 0, f"imgsz must be a multiple of 32, got {self.imgsz}")
        require(self.seed >= 0, f"seed must be 0 or more, got {self.seed}")
