"""A small YOLOv8n-seg with random weights, exported once a session."""

from pathlib import Path

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
