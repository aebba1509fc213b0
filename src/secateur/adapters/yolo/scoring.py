"""The one evaluator: Ultralytics' validator, for checkpoints and exported files alike."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import ultralytics
from ultralytics.models.yolo.detect import DetectionValidator
from ultralytics.models.yolo.segment import SegmentationValidator

from secateur.adapters.yolo.checkpoint import load
from secateur.adapters.yolo.opened import FileNet
from secateur.matches import Evaluation, Matches
from secateur.ports import Progress, Session
from secateur.results import Accuracy

BATCH = 16


class _Keeper:
    """Ultralytics forgets what it matched as soon as it is scored."""

    def get_stats(self) -> Any:
        self.matched = {name: list(found) for name, found in self.metrics.stats.items()}
        return super().get_stats()


class _Boxes(_Keeper, DetectionValidator):
    """With what it matched, a list of pictures."""


class _Masks(_Keeper, SegmentationValidator):
    """With what it matched, a list of pictures."""


def evaluate(model: Path | Session, data: Path, imgsz: int, device: str, progress: Progress) -> Evaluation:
    """Box and mask mAP on the validation pictures; square letterboxes for every format, so that they compare."""
    net = load(model) if isinstance(model, Path) else FileNet(model)
    kind = _Masks if net.task == "segment" else _Boxes
    with tempfile.TemporaryDirectory(prefix="secateur-val-") as scratch:
        args = {"data": str(data), "imgsz": imgsz, "batch": BATCH, "device": device, "rect": False, "plots": False,
                "workers": 0, "mode": "val", "verbose": False, "save_dir": scratch}  # fmt: skip
        validator = kind(args=args, save_dir=Path(scratch))
        validator.add_callback("on_val_batch_end", lambda v: progress(v.batch_i + 1, len(v.dataloader)))
        with torch.inference_mode():
            validator(model=str(model) if isinstance(model, Path) else net)
    return Evaluation(_accuracy(validator), _matches(validator.matched))


def _accuracy(validator: Any) -> Accuracy:
    box, mask = validator.metrics.box, getattr(validator.metrics, "seg", None)
    return Accuracy(
        box_map50_95=float(box.map),
        box_map50=float(box.map50),
        mask_map50_95=None if mask is None else float(mask.map),
        mask_map50=None if mask is None else float(mask.map50),
        images=int(validator.seen),
        evaluator=f"ultralytics {ultralytics.__version__}",
    )


def _matches(found: dict[str, list[np.ndarray]]) -> Matches:
    joined = {name: np.concatenate(values) for name, values in found.items()}
    return Matches(
        images=len(found["conf"]),
        image=_numbers(found["conf"]),
        confidence=joined["conf"],
        label=joined["pred_cls"].astype(np.int32),
        box=joined["tp"].astype(bool),
        mask=joined["tp_m"].astype(bool) if "tp_m" in joined else None,
        object_image=_numbers(found["target_cls"]),
        object_label=joined["target_cls"].astype(np.int32),
    )


def _numbers(pictures: list[np.ndarray]) -> np.ndarray:
    """Each entry's picture."""
    return np.repeat(np.arange(len(pictures), dtype=np.int32), [len(entries) for entries in pictures])
