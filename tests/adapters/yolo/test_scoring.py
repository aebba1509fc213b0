from pathlib import Path

import pytest
import ultralytics

from secateur.adapters.yolo.door import Yolo
from secateur.adapters.yolo.scoring import task_of
from secateur.results import Accuracy
from tests.conftest import IMGSZ, no_progress


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, yolo: Yolo, trained_checkpoint: Path) -> Path:
    out = tmp_path_factory.mktemp("exported") / "model.onnx"
    yolo.export_onnx(trained_checkpoint, IMGSZ, out)
    return out


@pytest.fixture(scope="module")
def score(yolo: Yolo, trained_checkpoint: Path, easy_shapes: Path) -> Accuracy:
    return yolo.evaluate(trained_checkpoint, easy_shapes, IMGSZ, no_progress)


def test_a_checkpoint_and_its_onnx_file_score_the_same(
    yolo: Yolo, exported: Path, easy_shapes: Path, score: Accuracy
) -> None:
    of_file = yolo.evaluate(exported, easy_shapes, IMGSZ, no_progress)

    assert score.box_map50_95 > 0.02
    assert of_file.box_map50_95 == pytest.approx(score.box_map50_95, abs=1e-3)
    assert of_file.mask_map50_95 == pytest.approx(score.mask_map50_95, abs=1e-3)


def test_a_score_says_how_it_was_made(score: Accuracy) -> None:
    assert score.images == 16
    assert score.evaluator == f"ultralytics {ultralytics.__version__}"


def test_a_score_is_the_same_twice(yolo: Yolo, trained_checkpoint: Path, easy_shapes: Path, score: Accuracy) -> None:
    assert yolo.evaluate(trained_checkpoint, easy_shapes, IMGSZ, no_progress) == score


def test_looser_matching_never_scores_lower(score: Accuracy) -> None:
    assert score.box_map50 >= score.box_map50_95
    assert score.mask_map50 >= score.mask_map50_95


def test_a_detector_has_no_mask_score(yolo: Yolo, detect_checkpoint: Path, shapes: Path) -> None:
    score = yolo.evaluate(detect_checkpoint, shapes, IMGSZ, no_progress)

    assert (score.mask_map50_95, score.mask_map50) == (None, None)
    assert score.main == score.box_map50_95


def test_progress_ends_at_its_total(yolo: Yolo, detect_checkpoint: Path, easy_shapes: Path) -> None:
    batches: list[tuple[int, int]] = []

    yolo.evaluate(detect_checkpoint, easy_shapes, IMGSZ, lambda *at: batches.append(at))

    assert batches == [(1, 1)]  # 16 pictures are one batch


def test_the_task_is_read_from_checkpoints_and_files(detect_checkpoint: Path, exported: Path) -> None:
    assert task_of(detect_checkpoint) == "detect"
    assert task_of(exported) == "segment"
