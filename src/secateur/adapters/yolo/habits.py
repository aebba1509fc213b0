"""What Ultralytics does unasked, switched off: installing, reporting, logging to MLflow, running what a checkpoint
says, writing beside the data, leaving a core idle, refusing bf16 to CPUs, and leaving pictures out of a score where the
machine is slow.
"""

from __future__ import annotations

import atexit
import logging
import math
import os
import shutil
import tempfile
from functools import cache, partial
from pathlib import Path
from typing import Any

LABELS = "SECATEUR_LABEL_CACHES"
"""Where processes that train together find the label caches of the one that started them."""

SAFE_LOAD = "ULTRALYTICS_SAFE_LOAD"

INTEGRATIONS = ("clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb")


def switch_off(folder: Path, trust: bool = False) -> None:
    """Must run before ultralytics is first imported, which reads the environment then. `trust`: checkpoints may be
    programs."""
    os.environ["YOLO_VERBOSE"] = "false"
    os.environ["YOLO_AUTOINSTALL"] = "false"
    os.environ["ULTRALYTICS_SKIP_REQUIREMENTS_CHECKS"] = "true"
    os.environ[SAFE_LOAD] = "false" if trust else "true"
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # it exports and scores with ONNX Runtime, which calls home
    os.environ["YOLO_CONFIG_DIR"] = str(folder.absolute())
    folder.mkdir(parents=True, exist_ok=True)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    _settle(folder.absolute())
    _be_careful(not trust)


def trusts() -> bool:
    """What `switch_off` said, in this process or in the one that started it."""
    return os.environ.get(SAFE_LOAD) == "false"


def _be_careful(careful: bool) -> None:
    """Checkpoints are built of known layers only, where else they could run whatever they like; and no activation of an
    architecture's yaml is evaluated."""
    import ultralytics.nn.tasks

    ultralytics.nn.tasks.SAFE_LOAD = careful  # also where ultralytics had been imported before


@cache
def _settle(folder: Path) -> None:
    import torch
    import ultralytics.data.build
    import ultralytics.data.utils
    import ultralytics.engine.trainer
    import ultralytics.utils.nms
    import ultralytics.utils.torch_utils
    from ultralytics.utils import LOGGER, SETTINGS

    LOGGER.setLevel(logging.ERROR)
    SETTINGS.update(
        {
            "sync": False,
            "datasets_dir": str(folder / "datasets"),
            "weights_dir": str(folder / "weights"),
            "runs_dir": str(folder / "runs"),
            **dict.fromkeys(INTEGRATIONS, False),
        }
    )
    ultralytics.utils.torch_utils.NUM_THREADS = torch.get_num_threads()  # it would take one less: of two cores, half
    ultralytics.data.utils.check_font = lambda *_: None  # it would download a font that only its plots use
    ultralytics.engine.trainer.autocast = _autocast
    ultralytics.data.build.YOLODataset = _dataset_with_caches_elsewhere()
    ultralytics.utils.nms.non_max_suppression = partial(
        ultralytics.utils.nms.non_max_suppression, max_time_img=math.inf
    )


def _autocast(enabled: Any, device: str = "cuda") -> Any:
    """Ultralytics' own refuses bf16 on a CPU, where it is twice as fast as FP32 if the processor has it."""
    import torch

    dtype = enabled if isinstance(enabled, torch.dtype) else None
    return torch.autocast(device, dtype, enabled=bool(enabled))


@cache
def label_caches() -> Path:
    """A scratch folder that goes with the process that made it."""
    if LABELS in os.environ:
        return Path(os.environ[LABELS])
    scratch = Path(tempfile.mkdtemp(prefix="secateur-labels-"))
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    return scratch


def _dataset_with_caches_elsewhere() -> type:
    from ultralytics.data.dataset import YOLODataset

    scratch = label_caches()

    class ReadOnlyYOLODataset(YOLODataset):
        """Keeps its label caches in a scratch folder: the data may be read-only, or belong to the store."""

        def _load_or_scan_cache(self, cache_path: Path, cache_hash: str) -> Any:
            return super()._load_or_scan_cache(scratch / f"{cache_hash}.cache", cache_hash)

    return ReadOnlyYOLODataset
