"""Checkpoints, in and out: what is written here opens in plain Ultralytics."""

from __future__ import annotations

import copy
import io
import re
import warnings
from pathlib import Path

import torch
from ultralytics.nn.tasks import BaseModel, load_checkpoint
from ultralytics.utils.downloads import GITHUB_ASSETS_NAMES, attempt_download_asset

from secateur.adapters.yolo.strangers import refusal
from secateur.errors import StageError

TASKS = ("segment", "detect")

SHOUT = re.compile(r"^ERROR \W+ \S+ (is not a loadable checkpoint — |is )?")


def load(weights: Path) -> BaseModel:
    """The net of a checkpoint, FP32, in eval mode; raises StageError where there is none in the file, or where the file
    could run code and nobody trusts it."""
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # torch's, of what it refuses anyway
            net, _ = load_checkpoint(str(weights))
    except Exception as error:  # an unpickler raises whatever it stumbles over
        raise StageError(refusal(weights, error) or f"{weights} is no Ultralytics checkpoint: {_why(error)}") from error
    if net.task not in TASKS:
        raise StageError(f"{weights} is a net for {net.task!r}; secateur takes {' and '.join(TASKS)}")
    return net


def _why(error: Exception) -> str:
    """The first sentence, without what Ultralytics shouts before it and adds in brackets."""
    first, *_ = str(error).strip().splitlines() or [type(error).__name__]
    why = re.split(r"\. | \(", SHOUT.sub("", first))[0].rstrip(".")
    return type(error).__name__ if why.isdigit() else why


def save(net: BaseModel, out: Path, imgsz: int | None = None) -> None:
    """Writes the net in FP16, as Ultralytics stores them, without a trace of where and when it was trained."""
    stripped = copy.deepcopy(net).cpu().half().to(memory_format=torch.contiguous_format)
    stripped.criterion = None
    args = {"task": net.task, "mode": "train", "model": None, "data": None} | ({"imgsz": imgsz} if imgsz else {})
    stripped.args = args
    stripped.__dict__.pop("pt_path", None)
    for parameter in stripped.parameters():
        parameter.requires_grad = False
    out.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()  # torch.save tells of a full disk in words of its own
    torch.save({"model": stripped, "ema": None, "train_args": args, "epoch": -1}, buffer)
    out.write_bytes(buffer.getvalue())


def resolve(key: str, weights: str, folder: Path) -> Path:
    """The file itself, or Ultralytics' published weights of that name, downloaded into `folder`; opened once, so that
    a wrong one is told before anything else is done. `key` is where a person set it."""
    try:
        path = Path(weights) if Path(weights).is_file() else _downloaded(key, weights, folder)
        load(path)
    except StageError as error:
        raise StageError(f"{key}: {error}") from error
    return path


def _downloaded(key: str, weights: str, folder: Path) -> Path:
    if Path(weights).name != weights or weights not in GITHUB_ASSETS_NAMES:
        raise StageError(f"no file {weights!r}")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return Path(attempt_download_asset(folder / weights))
    except Exception as error:  # whatever the network did, the remedy is the same
        raise StageError(
            f"{weights} cannot be downloaded here ({type(error).__name__}); give a local file with "
            f"{key}=…, or work offline with +study=quickstart"
        ) from error
