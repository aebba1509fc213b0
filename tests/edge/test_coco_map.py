"""The predictor's COCO mAP beside the validator's, by one tool, on real pictures that a checkout need not have."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from secateur.adapters.yolo.door import Yolo
from secateur.edge.coco import run_lengths
from secateur.edge.letterbox import read_picture
from secateur.edge.predictor import Predictor, open_predictor
from secateur.runtimes.onnxruntime import Onnxruntime
from tests.conftest import ROOT

SHARED = Path(os.environ.get("SECATEUR_SHARED", ROOT.parent / "shared"))
WEIGHTS = SHARED / "weights" / "yolov8n-seg-coco.pt"
PICTURES = SHARED / "coco-subset"
COUNT, IMGSZ = 24, 640  # at which few pictures are scaled: cv2 rounds scaled ones in its own way

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (WEIGHTS.is_file() and PICTURES.is_dir()),
        reason=f"no coco-subset and weights in {SHARED}; say where with SECATEUR_SHARED",
    ),
]


def test_the_map_is_the_validators_to_within_3_thousandths(yolo: Yolo, tmp_path: Path) -> None:
    yolo.export_onnx(WEIGHTS, IMGSZ, tmp_path / "net.onnx")

    ours, theirs = maps(tmp_path / "net.onnx", IMGSZ, COUNT, tmp_path)

    assert 0.2 < theirs["segm"] < theirs["bbox"] < 0.6
    assert ours == pytest.approx(theirs, abs=0.003)


def maps(model: Path, imgsz: int, count: int, folder: Path) -> tuple[dict[str, float], dict[str, float]]:
    """mAP50-95 of boxes and masks on so many validation pictures: the predictor's and the validator's."""
    data = some_pictures(count, folder)
    pictures = sorted((folder / "images").iterdir())
    truth = labelled(pictures)
    predictor = open_predictor(model, Onnxruntime(), confidence=0.001, multi_label=True)
    return scored(truth, found(predictor, pictures)), scored(truth, validated(model, data, imgsz, folder))


def some_pictures(count: int, folder: Path) -> Path:
    """A data yaml of the first ones."""
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    for path in sorted((PICTURES / "images" / "val2017").iterdir())[:count]:
        (folder / "images" / path.name).symlink_to(path)
        label = PICTURES / "labels" / "val2017" / f"{path.stem}.txt"
        if label.is_file():
            (folder / "labels" / label.name).symlink_to(label)
    names = (PICTURES / "coco-subset.yaml").read_text().partition("names:")[2]
    (folder / "data.yaml").write_text(f"path: {folder}\ntrain: images\nval: images\nnames:{names}")
    return folder / "data.yaml"


def labelled(pictures: list[Path]) -> dict[str, Any]:
    """COCO's ground truth, of YOLO's polygons."""
    from faster_coco_eval import mask as coco_masks

    images, annotations = [], []
    for path in pictures:
        height, width, _ = read_picture(path).shape
        images.append({"id": int(path.stem), "height": height, "width": width})
        label = path.parents[1] / "labels" / f"{path.stem}.txt"
        for line in label.read_text().splitlines() if label.is_file() else []:
            kind, *sides = line.split()
            polygon = (np.array(sides, float).reshape(-1, 2) * (width, height)).ravel().tolist()
            rle = coco_masks.merge(coco_masks.frPyObjects([polygon], height, width))
            annotations.append(
                {"id": len(annotations) + 1, "image_id": int(path.stem), "category_id": int(kind) + 1, "iscrowd": 0,
                 "segmentation": [polygon], "area": float(coco_masks.area(rle)),
                 "bbox": [float(side) for side in coco_masks.toBbox(rle)]}
            )  # fmt: skip
    return {"images": images, "annotations": annotations, "categories": [{"id": at} for at in range(1, 81)]}


def found(predictor: Predictor, pictures: list[Path]) -> list[dict[str, Any]]:
    """As COCO's results, by the predictor."""
    from faster_coco_eval import mask as coco_masks

    results = []
    for path in pictures:
        pixels = read_picture(path)
        seen = predictor(pixels)
        assert seen.masks is not None
        for box, score, label, mask in zip(seen.boxes, seen.scores, seen.labels, seen.masks, strict=True):
            left, top, right, bottom = box.tolist()
            results.append(
                {"image_id": int(path.stem), "category_id": int(label) + 1, "score": float(score),
                 "bbox": [left, top, right - left, bottom - top],
                 "segmentation": coco_masks.frPyObjects(run_lengths(mask), *pixels.shape[:2])}
            )  # fmt: skip
    return results


def validated(model: Path, data: Path, imgsz: int, folder: Path) -> list[dict[str, Any]]:
    """As COCO's results, by Ultralytics' validator."""
    from ultralytics.models.yolo.segment import SegmentationValidator

    args = {"model": str(model), "data": str(data), "imgsz": imgsz, "batch": 1, "device": "cpu", "rect": False,
            "plots": False, "workers": 0, "mode": "val", "verbose": False, "save_json": True}  # fmt: skip
    validator = SegmentationValidator(args=args, save_dir=folder / "validated")
    validator(model=str(model))

    results: list[dict[str, Any]] = json.loads((folder / "validated" / "predictions.json").read_text())
    return results


def scored(truth: dict[str, Any], results: list[dict[str, Any]]) -> dict[str, float]:
    from faster_coco_eval import COCO, COCOeval_faster

    whole, scores = COCO(truth), {}
    for kind in ("bbox", "segm"):
        evaluation = COCOeval_faster(whole, whole.loadRes([dict(result) for result in results]), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        scores[kind] = float(evaluation.stats[0])
    return scores
