"""A small YOLOv8n-seg with random weights, exported once a session."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

IMGSZ = 96


@pytest.fixture(scope="session")
def yolo_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("yolo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("YOLO_AUTOINSTALL", "false")
        patch.setenv("YOLO_CONFIG_DIR", str(folder / "settings"))
        return _export(folder)


@pytest.fixture(scope="session")
def four_onnx(yolo_onnx: Path) -> Path:
    """The same net, for four pictures at once."""
    return _export_again(yolo_onnx, "four", batch=4)


@pytest.fixture(scope="session")
def open_onnx(yolo_onnx: Path) -> Path:
    """The same net, for any number of pictures of any size."""
    return _export_again(yolo_onnx, "open", dynamic=True)


def _export_again(first: Path, name: str, **settings: Any) -> Path:
    from ultralytics import YOLO

    copy = shutil.copy(first.with_suffix(".pt"), first.with_name(f"{name}.pt"))
    return Path(YOLO(copy).export(format="onnx", imgsz=IMGSZ, verbose=False, **settings))


def _export(folder: Path) -> Path:
    import torch
    from ultralytics import YOLO

    torch.manual_seed(0)
    YOLO("yolov8n-seg.yaml", task="segment").save(folder / "net.pt")
    return Path(YOLO(folder / "net.pt").export(format="onnx", imgsz=IMGSZ, verbose=False))


@pytest.fixture(scope="session")
def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.random((1, 3, IMGSZ, IMGSZ), np.float32) for _ in range(4)]
