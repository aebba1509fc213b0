"""The unpruned COCO net on real pictures, from a folder that a checkout need not have."""

import os
from pathlib import Path

import pytest

from secateur.adapters.yolo.door import Yolo
from secateur.datasets.yolo_folder import YoloFolder
from tests.conftest import ROOT, no_progress

SHARED = Path(os.environ.get("SECATEUR_SHARED", ROOT.parent / "shared"))
WEIGHTS = SHARED / "weights" / "yolov8n-seg-coco.pt"
PICTURES = SHARED / "coco-subset"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (WEIGHTS.is_file() and PICTURES.is_dir()),
        reason=f"no coco-subset and weights in {SHARED}; say where with SECATEUR_SHARED",
    ),
]


def test_the_unpruned_coco_net_scores_what_it_is_known_to(yolo: Yolo, tmp_path: Path) -> None:
    YoloFolder(str(PICTURES)).write(tmp_path / "data", yolo)

    score = yolo.evaluate(WEIGHTS, tmp_path / "data" / "data.yaml", 320, no_progress).accuracy

    assert score.images == 202
    assert score.box_map50_95 == pytest.approx(0.337, abs=0.002)
    assert score.mask_map50_95 == pytest.approx(0.276, abs=0.003)
