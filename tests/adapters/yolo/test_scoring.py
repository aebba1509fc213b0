import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import ultralytics
from ultralytics.utils import nms

from secateur.adapters.yolo.door import Yolo
from secateur.bootstrap import average_precisions, means
from secateur.matches import Evaluation
from secateur.results import Accuracy
from secateur.runtimes.onnxruntime import Onnxruntime
from tests.conftest import IMGSZ, no_progress


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, yolo: Yolo, trained_checkpoint: Path) -> Path:
    out = tmp_path_factory.mktemp("exported") / "model.onnx"
    yolo.export_onnx(trained_checkpoint, IMGSZ, out)
    return out


@pytest.fixture(scope="module")
def scored(yolo: Yolo, trained_checkpoint: Path, easy_shapes: Path) -> Evaluation:
    return yolo.evaluate(trained_checkpoint, easy_shapes, IMGSZ, no_progress)


@pytest.fixture(scope="module")
def score(scored: Evaluation) -> Accuracy:
    return scored.accuracy


@pytest.fixture(scope="module")
def of_file(yolo: Yolo, exported: Path, easy_shapes: Path) -> Evaluation:
    return yolo.evaluate(Onnxruntime().open(exported), easy_shapes, IMGSZ, no_progress)


def test_a_checkpoint_and_its_onnx_file_score_the_same(of_file: Evaluation, score: Accuracy) -> None:
    one = 0.02  # of 16 objects, one that a rounding puts on the other side of an IoU threshold or two
    assert score.box_map50_95 > 5 * one
    assert of_file.accuracy.box_map50_95 == pytest.approx(score.box_map50_95, abs=one)
    assert of_file.accuracy.mask_map50_95 == pytest.approx(score.mask_map50_95, abs=one)


@pytest.mark.parametrize("taking", [{"batch": 5}, {"batch": 5, "dynamic": True}], ids=["five at once", "any number"])
def test_a_file_that_takes_several_pictures_scores_the_same_though_the_last_ones_are_too_few(
    taking: dict[str, Any], yolo: Yolo, trained_checkpoint: Path, easy_shapes: Path, of_file: Evaluation, tmp_path: Path
) -> None:
    yolo.export_onnx(trained_checkpoint, IMGSZ, tmp_path / "model.onnx", **taking)

    found = yolo.evaluate(Onnxruntime().open(tmp_path / "model.onnx"), easy_shapes, IMGSZ, no_progress)

    assert found.accuracy.images == 16  # 5 + 5 + 5 + 1
    assert found.accuracy.box_map50_95 == pytest.approx(of_file.accuracy.box_map50_95, abs=1e-4)
    assert found.accuracy.mask_map50_95 == pytest.approx(of_file.accuracy.mask_map50_95, abs=1e-4)
    assert found.matches.same_objects(of_file.matches)


def test_a_score_follows_from_its_matches(scored: Evaluation) -> None:
    matches, once = scored.matches, np.ones((1, 16), int)
    assert matches.mask is not None

    box, mask = (means(average_precisions(matches, right, once)) for right in (matches.box, matches.mask))
    assert box == pytest.approx([scored.accuracy.box_map50_95], abs=1e-6)
    assert mask == pytest.approx([scored.accuracy.mask_map50_95], abs=1e-6)


def test_pictures_come_in_the_same_order_for_checkpoints_and_files(scored: Evaluation, of_file: Evaluation) -> None:
    assert scored.matches.object_image.tolist() == list(range(16))  # one object a picture
    assert scored.matches.same_objects(of_file.matches)
    assert scored.matches.images == of_file.matches.images == 16


def test_a_score_says_how_it_was_made(score: Accuracy) -> None:
    assert score.images == 16
    assert score.evaluator == f"ultralytics {ultralytics.__version__}"


def test_a_score_is_the_same_twice(yolo: Yolo, trained_checkpoint: Path, easy_shapes: Path, score: Accuracy) -> None:
    assert yolo.evaluate(trained_checkpoint, easy_shapes, IMGSZ, no_progress).accuracy == score


def test_a_score_is_the_same_on_a_machine_that_is_slow(
    yolo: Yolo, trained_checkpoint: Path, easy_shapes: Path, score: Accuracy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nms, "time", SimpleNamespace(time=itertools.count(step=60).__next__))  # a minute a look

    assert yolo.evaluate(trained_checkpoint, easy_shapes, IMGSZ, no_progress).accuracy == score


def test_looser_matching_never_scores_lower(score: Accuracy) -> None:
    assert score.box_map50 >= score.box_map50_95
    assert score.mask_map50 >= score.mask_map50_95


def test_a_detector_has_no_mask_score(yolo: Yolo, detect_checkpoint: Path, shapes: Path) -> None:
    found = yolo.evaluate(detect_checkpoint, shapes, IMGSZ, no_progress)

    score = found.accuracy
    assert found.matches.mask is None
    assert (score.mask_map50_95, score.mask_map50) == (None, None)
    assert score.main == score.box_map50_95


def test_progress_ends_at_its_total(yolo: Yolo, detect_checkpoint: Path, easy_shapes: Path) -> None:
    batches: list[tuple[int, int]] = []

    yolo.evaluate(detect_checkpoint, easy_shapes, IMGSZ, lambda *at: batches.append(at))

    assert batches == [(1, 1)]  # 16 pictures are one batch


def test_a_detectors_file_has_no_mask_score_either(
    yolo: Yolo, detect_checkpoint: Path, easy_shapes: Path, tmp_path: Path
) -> None:
    yolo.export_onnx(detect_checkpoint, IMGSZ, tmp_path / "model.onnx")

    score = yolo.evaluate(Onnxruntime().open(tmp_path / "model.onnx"), easy_shapes, IMGSZ, no_progress).accuracy

    assert (score.mask_map50_95, score.images) == (None, 16)
