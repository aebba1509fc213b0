"""The door itself: `ports.Detector` and `ports.Downloads`, by Ultralytics."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from ultralytics import YOLO
from ultralytics.data.utils import check_det_dataset
from ultralytics.utils import ROOT, YAML

from secateur.adapters.yolo import checkpoint, devices, gradients, parallel, precision, scoring, training
from secateur.adapters.yolo.activations import swap
from secateur.adapters.yolo.annotation import annotate
from secateur.adapters.yolo.dates import undated
from secateur.adapters.yolo.fixed import output_layers, unprunable_layers
from secateur.adapters.yolo.flow import flow
from secateur.adapters.yolo.unroll import unroll
from secateur.errors import ExportError, SpecError, StageError
from secateur.matches import Evaluation
from secateur.plugins import nearest
from secateur.ports import Lesson, Progress, Session, Watch
from secateur.results import Epoch
from secateur.specs import Activation, Distillation, Training

OPSET = 17


class Yolo:
    """Builds, trains, scores and exports YOLO nets; what it downloads goes under `folder`.

    Of several devices (`0,1`) all train, and the first does the rest.
    """

    def __init__(self, device: str, workers: int, folder: Path) -> None:
        self.devices = devices.check_there(device)
        self.device, self.workers, self.folder = self.devices[0], workers, folder

    @property
    def processes(self) -> int:
        return len(self.devices)

    def settled(self, training: Training) -> Training:
        return replace(training, precision=precision.settled(training.precision, self.device))

    def dataset(self, name: str) -> Path:
        """The data yaml of a data set that Ultralytics publishes, downloaded where it is missing."""
        published = {path.name: path for path in (ROOT / "cfg" / "datasets").glob("*.yaml")}
        if name not in published:  # nobody else's, as such a yaml may hold the program that downloads its pictures
            raise SpecError(
                f"dataset.yaml: Ultralytics publishes no data set {name!r}{nearest(name, published)}; pictures of your "
                "own are taken with dataset=yolo_folder dataset.root=…"
            )
        try:
            data = check_det_dataset(published[name])
        except Exception as error:  # whatever the network did, the remedy is the same
            raise StageError(
                f"dataset {name!r} cannot be downloaded here ({type(error).__name__}); offline there are "
                "dataset=shapes, dataset=yolo_folder dataset.root=… and dataset=coco_subset dataset.root=…"
            ) from error
        out = self.folder / "datasets" / f"{Path(name).stem}.resolved.yaml"
        keep = {
            k: str(v) if isinstance(v, Path) else v for k, v in data.items() if k in ("path", "train", "val", "names")
        }
        YAML.save(out, keep)
        return out

    def resolve_weights(self, key: str, weights: str) -> Path:
        return checkpoint.resolve(key, weights, self.folder / "weights")

    def check_fits(self, weights: Path, classes: int, labels: str) -> None:
        net = checkpoint.load(weights)
        if net.task == "segment" and labels == "boxes":
            raise SpecError(
                f"model.weights: {weights} segments, the data set's labels are boxes; take a detector, such as "
                "model=yolov8n, or a data set with polygons"
            )
        if len(net.names) != classes:
            raise SpecError(
                f"model.weights: {weights} knows {len(net.names)} classes, the data set has {classes}; give weights "
                "that were trained on these classes, or train from scratch with model=yolov8n_seg_scratch"
            )

    def check_teaches(self, teacher: Path, weights: Path, distillation: Distillation) -> None:
        taught, net = checkpoint.load(teacher), checkpoint.load(weights)
        for what, here, there in _comparable(taught, net, distillation):
            if here != there:
                raise SpecError(
                    f"distillation.teacher: {teacher} cannot teach {weights}: its {what} is {here}, not {there}"
                )

    def train_from_scratch(
        self, architecture: str, data: Path, recipe: Training, imgsz: int, seed: int, out: Path, watch: Watch
    ) -> tuple[Epoch, ...]:
        try:
            net = training.build(architecture, data, seed)
        except FileNotFoundError as error:
            raise SpecError(f"model.architecture: Ultralytics has no {architecture!r}") from error
        return self._train("model.training", net, Lesson(data, Distillation()), recipe, imgsz, seed, out, watch)

    def finetune(
        self, weights: Path, lesson: Lesson, recipe: Training, imgsz: int, seed: int, out: Path, watch: Watch
    ) -> tuple[Epoch, ...]:
        return self._train(_key(lesson), checkpoint.load(weights), lesson, recipe, imgsz, seed, out, watch)

    def _train(
        self, key: str, net: nn.Module, lesson: Lesson, recipe: Training, imgsz: int, seed: int, out: Path, watch: Watch
    ) -> tuple[Epoch, ...]:
        folder = out.with_suffix(".training")
        task = training.Task(net, lesson, recipe, imgsz, seed, self.device, self.workers, folder, key)
        several = partial(parallel.complete, self.devices)
        trained, curve = training.train(task, several if len(self.devices) > 1 else training.complete, watch)
        shutil.rmtree(folder)
        checkpoint.save(trained, out, imgsz)
        return curve

    def annotate(
        self, weights: Path, images: Path, imgsz: int, confidence: float, labels: Path, progress: Progress
    ) -> int:
        return annotate(weights, images, imgsz, confidence, labels, self.device, progress)

    def evaluate(self, model: Path | Session, data: Path, imgsz: int, progress: Progress) -> Evaluation:
        return scoring.evaluate(model, data, imgsz, self.device, progress)

    def export_onnx(self, weights: Path, imgsz: int, out: Path, batch: int = 1, dynamic: bool = False) -> None:
        with tempfile.TemporaryDirectory(prefix="secateur-export-") as scratch:
            copy = shutil.copy(weights, Path(scratch) / "model.pt")
            try:
                written = YOLO(copy).export(
                    format="onnx", imgsz=imgsz, batch=batch, dynamic=dynamic, simplify=True, opset=OPSET, device="cpu",
                    verbose=False,
                )  # fmt: skip
            except (RuntimeError, ValueError, AssertionError) as error:
                raise ExportError(f"export to ONNX failed: {str(error).splitlines()[0]}") from error
            undated(Path(written))
            shutil.move(written, out)

    def load(self, weights: Path) -> nn.Module:
        return unroll(checkpoint.load(weights))

    def save(self, net: nn.Module, out: Path, imgsz: int | None = None) -> None:
        checkpoint.save(net, out, imgsz)

    def swap_activations(self, net: nn.Module, activation: Activation) -> int:
        return swap(net, activation)

    def flow(self, net: nn.Module, pictures: Tensor) -> None:
        flow(net, pictures)

    def fixed_layers(self, net: nn.Module, head: bool) -> list[nn.Module]:
        last: nn.Module = net.model[-1]
        kept = [net.get_submodule(path) for path in self.unprunable_layers(net)]
        return kept + (output_layers(last) if head else [last])

    def unprunable_layers(self, net: nn.Module) -> dict[str, str]:
        return unprunable_layers(net)

    def accumulate_gradients(
        self, net: nn.Module, data: Path, imgsz: int, batches: int, batch: int, seed: int, progress: Progress
    ) -> None:
        gradients.accumulate_gradients(net, data, imgsz, batches, batch, seed, self.device, progress)

    def accumulate_squared_gradients(
        self, net: nn.Module, data: Path, imgsz: int, images: int, seed: int, progress: Progress
    ) -> None:
        gradients.accumulate_squared_gradients(net, data, imgsz, images, seed, self.device, progress)


def _key(lesson: Lesson) -> str:
    """Where a person set how it is trained."""
    if lesson.rounded:
        return "quantization.training"
    return "sparsity.training" if lesson.regularizer else "finetune"


def _comparable(teacher: Any, net: Any, distillation: Distillation) -> Iterator[tuple[str, Any, Any]]:
    """What of a teacher must be as in the net: its name, the teacher's, the net's."""
    head, own = teacher.model[-1], net.model[-1]
    yield "task", teacher.task, net.task
    yield "number of classes", len(teacher.names), len(net.names)
    yield "strides", head.stride.int().tolist(), own.stride.int().tolist()
    if distillation.boxes:
        yield "number of box bins", head.reg_max, own.reg_max
    if distillation.dense:
        yield "number of trained branches", _branches(head), _branches(own)


def _branches(head: Any) -> int:
    return 1 if getattr(head, "one2one_cv2", None) is None else 2
