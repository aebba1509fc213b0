"""COCO's JSON as YOLO's labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from secateur.datasets.coco_json import CocoJson
from secateur.datasets.shapes import Shapes
from secateur.errors import SpecError

NOWHERE: Any = None  # nothing is downloaded
SQUARE = [10, 10, 30, 10, 30, 30, 10, 30]
OTHER = [60, 20, 80, 20, 80, 40, 60, 40]


def instance(number: int = 1, **said: Any) -> dict[str, Any]:
    plain = {
        "id": number,
        "image_id": 7,
        "category_id": 3,
        "bbox": [10, 10, 20, 20],
        "segmentation": [SQUARE],
        "iscrowd": 0,
    }
    return plain | said


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures of 100 × 50 px, one of them in a folder of its own."""
    for name in ("street/a.jpg", "b.jpg"):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / name).write_bytes(name.encode())
    return tmp_path


def asked(folder: Path, *instances: dict[str, Any], **changes: Any) -> CocoJson:
    said = {
        "images": [
            {"id": 7, "file_name": "street/a.jpg", "width": 100, "height": 50},
            {"id": 9, "file_name": "b.jpg", "width": 100, "height": 50},
        ],
        "categories": [{"id": 5, "name": "cat"}, {"id": 3, "name": "dog"}],
        "annotations": list(instances),
    } | changes
    for split in ("train", "val"):
        (folder / f"{split}.json").write_text(json.dumps(said))
    images = str(folder / "images")
    return CocoJson(str(folder / "train.json"), str(folder / "val.json"), images, images)


def label(folder: Path, *instances: dict[str, Any]) -> list[str]:
    asked(folder, *instances).write(folder / "out", NOWHERE)
    return (folder / "out" / "labels" / "train" / "street_a.txt").read_text().splitlines()


def area(line: str) -> float:
    """By the shoelace formula, px² of 100 × 50."""
    values = list(map(float, line.split()[1:]))
    points = [(x * 100, y * 50) for x, y in zip(values[::2], values[1::2], strict=True)]
    pairs = zip(points, [*points[1:], points[0]], strict=True)
    return abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairs)) / 2


def test_an_outline_is_told_in_shares_of_the_picture_and_categories_by_their_order(folder: Path) -> None:
    assert label(folder, instance()) == ["0 0.100000 0.200000 0.300000 0.200000 0.300000 0.600000 0.100000 0.600000"]

    said = yaml.safe_load((folder / "out" / "data.yaml").read_text())
    assert said["names"] == {0: "dog", 1: "cat"}


def test_pictures_of_several_folders_come_into_one_and_those_without_objects_too(folder: Path) -> None:
    asked(folder, instance()).write(folder / "out", NOWHERE)

    pictures = {path.name: path.read_bytes() for path in (folder / "out" / "images" / "val").iterdir()}
    assert pictures == {"street_a.jpg": b"street/a.jpg", "b.jpg": b"b.jpg"}
    assert (folder / "out" / "labels" / "val" / "b.txt").read_text() == ""


def test_an_object_in_parts_is_one_outline_around_all_of_them_and_no_more(folder: Path) -> None:
    (line,) = label(folder, instance(segmentation=[SQUARE, OTHER, [40, 5, 50, 5, 50, 10]]))

    assert area(line) == pytest.approx(400 + 400 + 25, abs=0.01)


def test_crowds_are_left_out(folder: Path) -> None:
    crowd = instance(2, iscrowd=1, segmentation={"size": [50, 100], "counts": [1, 2]})

    assert len(label(folder, instance(), crowd)) == 1


def test_where_an_object_has_no_outline_all_are_boxes(folder: Path) -> None:
    assert label(folder, instance(), instance(2, segmentation=[], bbox=[0, 0, 100, 50])) == [
        "0 0.200000 0.400000 0.200000 0.400000",
        "0 0.500000 0.500000 1.000000 1.000000",
    ]


def test_what_lies_outside_the_picture_is_cut_off(folder: Path) -> None:
    (line,) = label(folder, instance(segmentation=[[-5, 10, 130, 10, 130, 70]]))

    assert line == "0 0.000000 0.200000 1.000000 0.200000 1.000000 1.000000"


def test_of_a_box_that_reaches_over_the_border_what_lies_within_counts(folder: Path) -> None:
    (line,) = label(folder, instance(segmentation=[], bbox=[90, -10, 30, 35]))

    assert line == "0 0.950000 0.250000 0.100000 0.500000"  # 90 to 100 of 100, 0 to 25 of 50


def test_the_digest_is_of_what_is_shown_and_not_of_how_the_file_is_written(folder: Path) -> None:
    first = asked(folder, instance()).digest(NOWHERE)

    assert asked(folder, instance(score=0.5)).digest(NOWHERE) == first
    assert asked(folder, instance(segmentation=[OTHER])).digest(NOWHERE) != first
    (folder / "images" / "b.jpg").write_bytes(b"another")
    assert asked(folder, instance()).digest(NOWHERE) != first


def test_labels_of_yolo_come_back_as_they_were(tmp_path: Path) -> None:
    Shapes(train=3, val=2, size=64).write(tmp_path / "data", NOWHERE)
    names = yaml.safe_load((tmp_path / "data" / "data.yaml").read_text())["names"]
    for split in ("train", "val"):
        pictures = sorted((tmp_path / "data" / "images" / split).iterdir())
        images = [{"id": n, "file_name": path.name, "width": 64, "height": 64} for n, path in enumerate(pictures)]
        lines = [
            (n, line.split())
            for n, path in enumerate(pictures)
            for line in (tmp_path / "data" / "labels" / split / path.name).with_suffix(".txt").read_text().splitlines()
        ]
        instances = [
            {
                "id": n,
                "image_id": image,
                "category_id": int(kind),
                "bbox": [0, 0, 1, 1],
                "segmentation": [[64 * float(value) for value in points]],
            }
            for n, (image, (kind, *points)) in enumerate(lines)
        ]
        kinds = [{"id": number, "name": name} for number, name in names.items()]
        (tmp_path / f"{split}.json").write_text(
            json.dumps({"images": images, "annotations": instances, "categories": kinds})
        )
    images_of = {split: str(tmp_path / "data" / "images" / split) for split in ("train", "val")}

    dataset = CocoJson(str(tmp_path / "train.json"), str(tmp_path / "val.json"), images_of["train"], images_of["val"])
    dataset.write(tmp_path / "out", NOWHERE)

    for path in (tmp_path / "data" / "labels").rglob("*.txt"):
        came = (tmp_path / "out" / "labels" / path.relative_to(tmp_path / "data" / "labels")).read_text().split()
        assert [float(value) for value in came] == pytest.approx([float(v) for v in path.read_text().split()], abs=1e-6)


REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {"annotations": [instance(segmentation={"counts": [1], "size": [2, 2]})]},
        "annotation 1 is a mask of run lengths",
    ),
    ({"annotations": [instance(category_id=99)]}, "not in COCO's format: KeyError at 99"),
    ({"images": [{"id": 7, "file_name": "a.jpg"}]}, "not in COCO's format: KeyError at 'width'"),
    ({"images": [{"id": 7, "file_name": "gone.jpg", "width": 1, "height": 1}]}, "lists gone.jpg, which is not in"),
    ({"images": []}, "must list pictures"),
    (
        {"images": [{"id": 7, "file_name": n, "width": 9, "height": 9} for n in ("b.jpg", "street/a.jpg")]},
        "an id of its own",
    ),
    ({"images": [{"id": 7, "file_name": "/a.jpg", "width": 9, "height": 9}]}, "not in COCO's format: ValueError"),
    (
        {"annotations": [instance()], "images": [{"id": 7, "file_name": "b.jpg", "width": 0, "height": 9}]},
        "ZeroDivisionError",
    ),
    ({"annotations": [instance(segmentation=SQUARE)]}, "not in COCO's format: TypeError"),
    ({"annotations": ["a cat"]}, "not in COCO's format: AttributeError"),
]


@pytest.mark.parametrize(("changes", "line"), REFUSED, ids=[line for _, line in REFUSED])
def test_what_cannot_be_converted_is_refused_in_one_line(changes: dict[str, Any], line: str, folder: Path) -> None:
    with pytest.raises(SpecError, match=line) as caught:
        asked(folder, **changes).digest(NOWHERE)

    assert "\n" not in str(caught.value)


def test_other_categories_in_training_and_a_file_that_is_not_there_are_refused(folder: Path) -> None:
    dataset = asked(folder, instance())
    said = json.loads((folder / "train.json").read_text())
    (folder / "train.json").write_text(
        json.dumps(said | {"categories": [{"id": 3, "name": "cow"}, {"id": 5, "name": "x"}]})
    )

    with pytest.raises(SpecError, match="have other categories"):
        dataset.digest(NOWHERE)
    (folder / "val.json").unlink()
    with pytest.raises(SpecError, match=r"dataset.val: no file"):
        dataset.check()
    (folder / "val.json").write_text("{")
    with pytest.raises(SpecError, match="is no JSON"):
        dataset.digest(NOWHERE)
