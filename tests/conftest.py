"""What the tests of nets share: a door, tiny pictures, and small nets that are made once a session."""

from __future__ import annotations

import os
import resource
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from secateur.datasets.shapes import Shapes
from secateur.ports import Lesson, Watch
from secateur.specs import Distillation, Scope, Training

if TYPE_CHECKING:
    from torch import Tensor, nn

    from secateur.adapters.yolo.door import Yolo

os.environ.setdefault("OMP_NUM_THREADS", "1")  # at 64 px a second thread only waits for the first
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background of a shell would be deaf to it

ROOT = Path(__file__).parents[1]
IMGSZ = 64

Recipe = Callable[..., Training]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with the most slow tests go first: of processes that share the files, none has a long one left at the
    end."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


def no_progress(done: int, total: int) -> None:
    """Nobody looks."""


unwatched = Watch(no_progress, lambda epoch: None)


def watching(batches: list[tuple[int, int]]) -> Watch:
    """Notes each batch."""
    return Watch(lambda *at: batches.append(at), lambda epoch: None)


def by_labels(data: Path) -> Lesson:
    """Ordinary training."""
    return Lesson(data, Distillation())


@pytest.fixture(scope="session")
def yolo(tmp_path_factory: pytest.TempPathFactory) -> Yolo:
    from secateur.adapters.yolo import open_yolo

    return open_yolo("cpu", 0, tmp_path_factory.mktemp("ultralytics"))


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    """conf/finetune/default.yaml for one epoch, with changes."""
    settings = yaml.safe_load((ROOT / "conf/finetune/default.yaml").read_text()) | {"epochs": 1, "batch": 8}
    return lambda **changes: Training(**settings | changes)


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory, yolo: Yolo) -> Path:
    """The data.yaml of 16 + 8 pictures with 5 classes."""
    folder = tmp_path_factory.mktemp("shapes")
    Shapes(train=16, val=8, size=IMGSZ).write(folder, yolo)
    return folder / "data.yaml"


@pytest.fixture(scope="session")
def easy_shapes(tmp_path_factory: pytest.TempPathFactory, yolo: Yolo) -> Path:
    """One object that fills the picture: learnt within seconds."""
    folder = tmp_path_factory.mktemp("easy")
    Shapes(train=32, val=16, size=IMGSZ, objects=1, smallest=0.95, largest=1.0, noise=0.0).write(folder, yolo)
    return folder / "data.yaml"


@pytest.fixture(scope="session")
def seg_checkpoint(tmp_path_factory: pytest.TempPathFactory, yolo: Yolo, shapes: Path) -> Path:
    """YOLOv8n-seg with random weights and lively BatchNorm."""
    return random_checkpoint("yolov8n-seg.yaml", tmp_path_factory.mktemp("seg") / "seg.pt", yolo, shapes)


@pytest.fixture(scope="session")
def seg_onnx(tmp_path_factory: pytest.TempPathFactory, yolo: Yolo, seg_checkpoint: Path) -> Path:
    """The same, exported for pictures of IMGSZ."""
    out = tmp_path_factory.mktemp("exported") / "seg.onnx"
    yolo.export_onnx(seg_checkpoint, IMGSZ, out)
    return out


@pytest.fixture(scope="session")
def detect_checkpoint(tmp_path_factory: pytest.TempPathFactory, yolo: Yolo, shapes: Path) -> Path:
    """YOLOv8n with random weights and lively BatchNorm."""
    return random_checkpoint("yolov8n.yaml", tmp_path_factory.mktemp("detect") / "detect.pt", yolo, shapes)


@pytest.fixture(scope="session")
def pruned_checkpoint(tmp_path_factory: pytest.TempPathFactory, yolo: Yolo, seg_checkpoint: Path) -> Path:
    """The segmentation net with 0.3 of its MACs gone."""
    out = tmp_path_factory.mktemp("pruned") / "pruned.pt"
    yolo.save(prune(yolo, yolo.load(seg_checkpoint), target=0.3), out)
    return out


@pytest.fixture(scope="session")
def trained_checkpoint(tmp_path_factory: pytest.TempPathFactory, yolo: Yolo, easy_shapes: Path, recipe: Recipe) -> Path:
    """YOLOv8n-seg that finds some of the easy shapes."""
    out = tmp_path_factory.mktemp("trained") / "trained.pt"
    plain = {"hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0, "translate": 0.0, "scale": 0.0, "fliplr": 0.0}
    training = recipe(epochs=10, lr0=0.006, warmup_epochs=1.0, ema_decay=0.9, ema_tau=5, **plain)
    yolo.train_from_scratch("yolov8n-seg.yaml", easy_shapes, training, IMGSZ, 0, out, unwatched)
    return out


def random_checkpoint(architecture: str, out: Path, yolo: Yolo, data: Path) -> Path:
    from secateur.adapters.yolo.training import build

    net = build(architecture, data, seed=0)
    enliven_batchnorm(net)
    yolo.save(net, out)
    return out


def enliven_batchnorm(net: nn.Module) -> None:
    """Each channel gets statistics, a scale and a shift of its own: what is mixed up shows."""
    import torch

    generator = torch.Generator().manual_seed(1)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for values in (module.running_var.data, module.weight.data):
                values.copy_(torch.rand(len(values), generator=generator) * 0.5 + 0.75)
            for values in (module.running_mean.data, module.bias.data):
                values.copy_(torch.rand(len(values), generator=generator) * 0.2 - 0.1)


def prune(
    yolo: Yolo,
    net: nn.Module,
    target: float,
    original: nn.Module | None = None,
    importance: Any = None,
    scope: Scope | None = None,
    unit: str = "macs",
) -> nn.Module:
    """As the prune stage does it: `target` is a share of `original`, which is `net` where none is given."""
    from secateur.adapters.channel_pruning import ChannelPruner
    from secateur.budgets import counted
    from secateur.importances.magnitude import Magnitude
    from secateur.ports import Budget

    pruner, scope, original = ChannelPruner(), scope or Scope(), original or net
    widths = pruner.widths(original, yolo.fixed_layers(original, scope.head), IMGSZ)
    budget = Budget(target, unit, counted(unit, original, widths, IMGSZ, pruner), widths)
    fixed = yolo.fixed_layers(net, scope.head)
    return pruner.prune(net, fixed, importance or Magnitude(), scope, budget, IMGSZ, pictures(8)).net


def pictures(count: int) -> Tensor:
    """(count, 3, IMGSZ, IMGSZ); smooth noise, 0–1: what a layer reads from it is not just as good as white."""
    import torch
    from torch.nn import functional

    noise = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return functional.interpolate(noise, size=(IMGSZ, IMGSZ), mode="bilinear")


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """What a full disk is to a process: a write that goes so far and then fails."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
