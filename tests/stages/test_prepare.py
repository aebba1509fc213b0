from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from secateur.datasets.shapes import NAMES, Shapes
from secateur.datasets.yolo_folder import YoloFolder
from secateur.errors import StageError
from secateur.ports import Tools
from secateur.stages import prepare
from secateur.store import Store, artifact, digest

NOWHERE: Any = None
FEW = Shapes(train=3, val=2, size=64)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data set in YOLO format, to be spoilt."""
    FEW.write(tmp_path / "data", NOWHERE)
    return tmp_path / "data"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def seen() -> list[tuple[int, int]]:
    return []


@pytest.fixture
def tools(seen: list[tuple[int, int]]) -> Tools:
    without_nets: Any = {"detector": None, "pruner": None, "downloads": None}
    return Tools(**without_nets, progress=lambda done, total: seen.append((done, total)))


def prepared(root: Path, tools: Tools, out: Path) -> prepare.Outputs:
    return prepare.run(prepare.Inputs("content", YoloFolder(str(root))), tools, out)


def test_a_data_set_is_written_and_counted(tools: Tools, out: Path) -> None:
    made = prepare.run(prepare.Inputs("content", FEW), tools, out)

    labels = {s: (out / "data" / "labels" / s).glob("*.txt") for s in ("train", "val")}
    lines = {split: sum(len(path.read_text().splitlines()) for path in paths) for split, paths in labels.items()}
    assert made.data == artifact(out / "data")
    assert (made.names, made.labels) == (NAMES, "polygons")
    assert (made.train_images, made.val_images) == (3, 2)
    assert (made.train_instances, made.val_instances) == (lines["train"], lines["val"])


def test_the_same_pictures_from_a_folder_count_the_same(root: Path, tools: Tools, out: Path) -> None:
    made = prepared(root, tools, out)

    drawn = out / "drawn"
    drawn.mkdir()
    assert prepare.run(prepare.Inputs("content", FEW), tools, drawn).train_instances == made.train_instances
    assert digest(out / "data" / "images") == digest(root / "images")


def test_splits_of_different_pictures_share_none(root: Path, tools: Tools, out: Path) -> None:
    assert prepared(root, tools, out).val_in_train == 0


@pytest.mark.parametrize("form", ["png", "bmp", "webp"])
def test_a_validation_picture_with_a_training_pictures_pixels_counts_however_it_is_encoded(
    form: str, root: Path, tools: Tools, out: Path
) -> None:
    train, val = root / "images" / "train", root / "images" / "val"
    (val / "000001.png").unlink()
    options = {"lossless": True} if form == "webp" else {}
    Image.open(train / "000002.png").save(val / f"000001.{form}", **options)

    assert prepared(root, tools, out).val_in_train == 1


def test_the_same_bytes_in_another_shape_are_another_picture(root: Path, tools: Tools, out: Path) -> None:
    grey = Image.new("RGB", (64, 32), (114, 114, 114))
    grey.save(root / "images" / "train" / "000000.png")
    grey.transpose(Image.Transpose.ROTATE_90).save(root / "images" / "val" / "000000.png")

    assert prepared(root, tools, out).val_in_train == 0


def test_every_validation_picture_counts_where_the_splits_are_one_folder(root: Path, tools: Tools, out: Path) -> None:
    said = yaml.safe_load((root / "data.yaml").read_text())
    (root / "data.yaml").write_text(yaml.safe_dump(said | {"val": "images/train"}))

    made = prepared(root, tools, out)
    assert made.val_in_train == made.val_images == 3


def test_every_picture_is_opened_once(root: Path, tools: Tools, out: Path, seen: list[tuple[int, int]]) -> None:
    prepared(root, tools, out)

    assert seen == [(done, 5) for done in range(1, 6)]


@pytest.mark.parametrize("names", [{1: "b", 0: "a"}, ["a", "b"]])
def test_names_come_in_the_order_of_their_numbers(names: object, tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text(yaml.safe_dump({"names": names}))

    assert prepare.class_names(tmp_path / "data.yaml") == ("a", "b")


@pytest.mark.parametrize(
    "line",
    [
        "0 0 0 1 0 1 1",
        "4 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2",
        "2.0 0 0 1 0 1 1",
        "0 -0.005 0 1.005 0 1 1",
        "\n\n0 0 0 1 0 1 1\n",
    ],
)
def test_a_good_label_is_taken(line: str, root: Path, tools: Tools, out: Path) -> None:
    for number in range(3):
        (root / "labels" / "train" / f"{number:06}.txt").write_text(line)

    assert prepared(root, tools, out).train_instances == 3


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("0", "0 numbers after the class, where 4 are a box's x y w h, and 6, 8, 10, … a polygon's corners"),
        (
            "0 0 0 1 0 1 1 0.5",
            "7 numbers after the class, where 4 are a box's x y w h, and 6, 8, 10, … a polygon's corners",
        ),
        (
            "0 0.5 0.5 1 1",
            "boxes among polygons, where Ultralytics would drop the polygons: give labels of one kind",
        ),
        ("star 0 0 1 0 1 1", "not all numbers: 'star 0 0 1 0 1 1'"),
        ("0,0,0,1,0,1,1", "not all numbers: '0,0,0,1,0,1,1'"),
        ("5 0 0 1 0 1 1", "class 5 where data.yaml names 5 classes (0–4)"),
        ("-1 0 0 1 0 1 1", "class -1 where data.yaml names 5 classes (0–4)"),
        ("0.5 0 0 1 0 1 1", "class 0.5 where data.yaml names 5 classes (0–4)"),
        ("nan 0 0 1 0 1 1", "class nan where data.yaml names 5 classes (0–4)"),
        ("0 0 0 64 0 64 64", "points outside 0–1: corners are fractions of the picture's width and height"),
        ("0 0 0 nan 0 1 1", "points outside 0–1: corners are fractions of the picture's width and height"),
        ("0 0 0 inf 0 1 1", "points outside 0–1: corners are fractions of the picture's width and height"),
    ],
)
def test_a_bad_label_is_refused_with_its_file_and_line(
    line: str, fault: str, root: Path, tools: Tools, out: Path
) -> None:
    (root / "labels" / "val" / "000001.txt").write_text(f"0 0 0 1 0 1 1\n{line}\n")

    with pytest.raises(StageError) as refusal:
        prepared(root, tools, out)
    assert str(refusal.value) == f"dataset: val/000001.txt line 2: {fault}"


def with_boxes(root: Path) -> Path:
    """The data set with one box a picture."""
    for path in (root / "labels").rglob("*.txt"):
        path.write_text("0 0.5 0.5 1 0.25\n")
    return root


def test_boxes_are_taken_too(root: Path, tools: Tools, out: Path) -> None:
    made = prepared(with_boxes(root), tools, out)

    assert (made.labels, made.train_instances, made.val_instances) == ("boxes", 3, 2)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("0 0.5 0.5 0.2 0", "empty box: the last two numbers, its width and height, must be above 0"),
        ("0 0.5 0.5 -0.005 1", "empty box: the last two numbers, its width and height, must be above 0"),
        ("0 32 32 64 64", "box outside 0–1: its centre and size are fractions of the picture's width and height"),
        ("0 0.5 nan 1 1", "box outside 0–1: its centre and size are fractions of the picture's width and height"),
        ("5 0.5 0.5 1 1", "class 5 where data.yaml names 5 classes (0–4)"),
        (
            "0 0 0 1 0 1 1",
            "polygons among boxes, where Ultralytics would drop the polygons: give labels of one kind",
        ),
    ],
)
def test_a_bad_label_among_boxes_is_refused_with_its_file_and_line(
    line: str, fault: str, root: Path, tools: Tools, out: Path
) -> None:
    (with_boxes(root) / "labels" / "val" / "000001.txt").write_text(f"\n0 0.5 0.5 1 1\n{line}\n")

    with pytest.raises(StageError) as refusal:
        prepared(root, tools, out)
    assert str(refusal.value) == f"dataset: val/000001.txt line 3: {fault}"


def test_a_label_that_is_no_text_is_refused(root: Path, tools: Tools, out: Path) -> None:
    (root / "labels" / "val" / "000001.txt").write_bytes(b"\x89PNG\xff\xfe 0 0 1 0 1 1")

    with pytest.raises(StageError, match="^dataset: val/000001.txt line 1: not all numbers: [^\n]+$"):
        prepared(root, tools, out)


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_split_without_any_label_is_refused(split: str, root: Path, tools: Tools, out: Path) -> None:
    for path in (root / "labels" / split).iterdir():
        path.unlink()

    with pytest.raises(StageError, match=f"^dataset: the {split} pictures have no labels at all$"):
        prepared(root, tools, out)


def half_a_picture(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def text(path: Path) -> None:
    path.write_text("no picture")


def nothing(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("spoil", [half_a_picture, text, nothing])
def test_a_picture_that_does_not_decode_is_refused_by_name(spoil: Any, root: Path, tools: Tools, out: Path) -> None:
    spoil(root / "images" / "val" / "000001.png")

    with pytest.raises(
        StageError, match=r"^cannot read the picture \S+/val/000001.png \([^\n]+\); mend it or leave it"
    ):
        prepared(root, tools, out)


def test_a_refused_data_set_leaves_nothing_in_the_store(root: Path, tools: Tools, tmp_path: Path) -> None:
    text(root / "images" / "val" / "000001.png")
    store, inputs = Store(tmp_path / "store"), prepare.Inputs("content", YoloFolder(str(root)))

    with pytest.raises(StageError):
        store.get("prepare", [inputs], prepare.Outputs, lambda out: prepare.run(inputs, tools, out))
    assert not (store.root / "prepare").exists()
    assert list((store.root / ".tmp").iterdir()) == []
