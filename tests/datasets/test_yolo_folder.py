import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from secateur.datasets._yolo import label_of
from secateur.datasets.shapes import Shapes
from secateur.datasets.yolo_folder import YoloFolder
from secateur.errors import SpecError
from secateur.store import digest

NOWHERE: Any = None  # a folder that is here downloads nothing


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three and two pictures in YOLO format."""
    Shapes(train=3, val=2, size=64).write(tmp_path / "data", NOWHERE)
    return tmp_path / "data"


def say(root: Path, **changes: object) -> None:
    said = yaml.safe_load((root / "data.yaml").read_text()) | changes
    (root / "data.yaml").write_text(yaml.safe_dump({key: value for key, value in said.items() if value is not None}))


def digest_at(root: Path) -> str:
    return YoloFolder(str(root)).digest(NOWHERE)


def written(root: Path, out: Path) -> Path:
    out.mkdir()
    YoloFolder(str(root)).write(out, NOWHERE)
    return out


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of everything in a folder."""
    found = {path: path.lstat() for path in folder.rglob("*")}
    return {path.relative_to(folder).as_posix(): (s.st_size, s.st_mtime_ns) for path, s in found.items()}


# ---- what is written ------------------------------------------------------------------------------


def test_pictures_and_labels_come_into_one_layout(root: Path, tmp_path: Path) -> None:
    out = written(root, tmp_path / "out")

    assert digest(out / "images") == digest(root / "images")
    assert digest(out / "labels") == digest(root / "labels")
    said = yaml.safe_load((out / "data.yaml").read_text())
    assert said == {
        "train": "images/train",
        "val": "images/val",
        "names": {0: "circle", 1: "box", 2: "triangle", 3: "star", 4: "cross"},
    }


def test_the_folder_itself_is_not_touched(root: Path, tmp_path: Path) -> None:
    before = tree(root)
    YoloFolder(str(root)).check()
    digest_at(root)
    written(root, tmp_path / "out")

    assert tree(root) == before


def test_a_picture_without_a_label_is_kept(root: Path, tmp_path: Path) -> None:
    (root / "labels" / "train" / "000000.txt").unlink()

    out = written(root, tmp_path / "out")
    assert len(list((out / "images" / "train").iterdir())) == 3
    assert len(list((out / "labels" / "train").iterdir())) == 2


def test_what_is_no_picture_is_left_out(root: Path, tmp_path: Path) -> None:
    (root / "images" / "train" / "Thumbs.db").touch()

    out = written(root, tmp_path / "out")
    assert len(list((out / "images" / "train").iterdir())) == 3


def test_names_may_be_a_list(root: Path, tmp_path: Path) -> None:
    say(root, names=["a", "b", "c", "d", "e"])

    out = written(root, tmp_path / "out")
    assert yaml.safe_load((out / "data.yaml").read_text())["names"] == dict(enumerate("abcde"))


def test_pictures_may_lie_in_several_folders(root: Path, tmp_path: Path) -> None:
    before = digest(root / "images" / "train"), digest(root / "labels" / "train")
    for part, name in (("images", "000000.png"), ("labels", "000000.txt")):
        (root / part / "more").mkdir()
        (root / part / "train" / name).rename(root / part / "more" / name)
    say(root, train=["images/train", "images/more"])

    out = written(root, tmp_path / "out")
    assert (digest(out / "images" / "train"), digest(out / "labels" / "train")) == before


def test_pictures_may_be_listed_in_a_text_file(root: Path, tmp_path: Path) -> None:
    listed = [f"./images/train/{number:06}.png" for number in (0, 2)]
    (root / "train.txt").write_text("\n".join(listed) + "\n\n")
    say(root, train="train.txt")

    out = written(root, tmp_path / "out")
    assert sorted(path.name for path in (out / "images" / "train").iterdir()) == ["000000.png", "000002.png"]
    assert len(list((out / "labels" / "train").iterdir())) == 2


def test_path_leads_from_the_yaml_to_the_pictures(root: Path, tmp_path: Path) -> None:
    (root / "sets").mkdir()
    (root / "data.yaml").rename(root / "sets" / "data.yaml")
    say(root / "sets", path="..")

    out = written(root / "sets", tmp_path / "out")
    assert digest(out / "images") == digest(root / "images")


def test_a_path_that_leads_nowhere_gives_way_to_the_yamls_own_folder(root: Path) -> None:
    before = digest_at(root)
    say(root, path="/somebody/elses/datasets/data")

    assert digest_at(root) == before


# ---- what it is -----------------------------------------------------------------------------------


def test_the_digest_does_not_depend_on_the_place(root: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(root, tmp_path / "copy"))

    assert digest_at(copy) == digest_at(root)


def edit_label(root: Path) -> None:
    (root / "labels" / "val" / "000001.txt").write_text("0 0 0 1 0 1 1\n")


def remove_label(root: Path) -> None:
    (root / "labels" / "val" / "000001.txt").unlink()


def exchange_picture(root: Path) -> None:
    shutil.copy(root / "images" / "train" / "000000.png", root / "images" / "val" / "000000.png")


def rename_class(root: Path) -> None:
    say(root, names=["a", "b", "c", "d", "e"])


def remove_picture(root: Path) -> None:
    (root / "images" / "train" / "000000.png").unlink()


@pytest.mark.parametrize("change", [edit_label, remove_label, exchange_picture, rename_class, remove_picture])
def test_the_digest_depends_on_all_of_the_content(change: Any, root: Path) -> None:
    before = digest_at(root)
    change(root)

    assert digest_at(root) != before


# ---- where it is ----------------------------------------------------------------------------------


def test_data_yaml_is_found_among_others(root: Path) -> None:
    (root / "notes.yaml").write_text("not: ours")

    YoloFolder(str(root)).check()


def test_the_only_yaml_is_found_under_any_name(root: Path) -> None:
    before = digest_at(root)
    (root / "data.yaml").rename(root / "coco-subset.yml")

    assert digest_at(root) == before


def test_a_yaml_can_be_named(root: Path) -> None:
    (root / "data.yaml").rename(root / "mine.yaml")
    (root / "notes.yaml").write_text("not: ours")

    YoloFolder(str(root), yaml="mine.yaml").check()


@pytest.mark.usefixtures("yolo")  # through its door, ultralytics is imported with its habits switched off
@pytest.mark.parametrize(
    ("picture", "label"),
    [
        ("data/images/train/a.jpg", "data/labels/train/a.txt"),
        ("images/data/images/a.b.png", "images/data/labels/a.b.txt"),
        ("data/train/a.jpg", "data/train/a.txt"),
        ("my-images/images/a.jpg", "my-images/labels/a.txt"),
    ],
)
def test_a_label_lies_beside_its_picture_as_ultralytics_has_it(picture: str, label: str) -> None:
    from ultralytics.data.utils import img2label_paths

    assert label_of(Path(picture)) == Path(label)
    assert img2label_paths([f"/{picture}"]) == [f"/{label}"]


# ---- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"names": None}, "dataset: {yaml} does not say names"),
        ({"train": None, "val": None}, "dataset: {yaml} does not say train, val"),
        ({"names": {0: "a", 2: "b"}}, "dataset: names in {yaml} must be a list, or numbered from 0 without gaps"),
        ({"names": {0: "a", "b": "c"}}, "dataset: names in {yaml} must be a list, or numbered from 0 without gaps"),
        ({"names": "a"}, "dataset: names in {yaml} must be a list, or numbered from 0 without gaps"),
        ({"val": "images/none"}, "dataset: no val pictures at {root}/images/none (data.yaml says so)"),
        ({"val": "labels/val"}, "dataset: no val pictures at {root}/labels/val (data.yaml says so)"),
        ({"train": 5}, "dataset: no train pictures at {root}/5 (data.yaml says so)"),
    ],
)
def test_a_data_yaml_that_cannot_be_followed_is_refused(changes: dict[str, Any], line: str, root: Path) -> None:
    say(root, **changes)

    with pytest.raises(SpecError) as refusal:
        YoloFolder(str(root)).check()
    assert str(refusal.value) == line.format(yaml=root / "data.yaml", root=root)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "does not say train, val, names"),
        (b"just a line", "does not say train, val, names"),
        (b"- a\n- b", "does not say train, val, names"),
        (b"train: [images", "is no YAML: while parsing a flow sequence"),
        (b"\xff\xfe\x00\x01", "is no YAML: "),
        (b"names: \xe9", "is no YAML: "),
    ],
)
def test_a_file_that_is_no_data_yaml_is_refused_in_one_line(content: bytes, line: str, root: Path) -> None:
    (root / "data.yaml").write_bytes(content)

    with pytest.raises(SpecError) as refusal:
        YoloFolder(str(root)).check()
    assert str(refusal.value).startswith(f"dataset: {root / 'data.yaml'} {line}")
    assert "\n" not in str(refusal.value)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="^dataset.root: no folder '.+/none'; name one with dataset.root=…$"):
        YoloFolder(str(tmp_path / "none")).check()


def test_a_yaml_that_is_not_there_is_refused(root: Path) -> None:
    with pytest.raises(SpecError, match="^dataset: cannot read .+/none.yaml: No such file or directory$"):
        YoloFolder(str(root), yaml="none.yaml").check()


@pytest.mark.parametrize(("names", "count"), [([], 0), (["a.yaml", "b.yml"], 2)])
def test_a_choice_of_yamls_must_be_made(names: list[str], count: int, tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).touch()

    with pytest.raises(SpecError, match=f"^dataset.root: {count} data yamls in .+; name it with dataset.yaml=…$"):
        YoloFolder(str(tmp_path)).check()


def test_a_listed_picture_that_is_not_there_is_refused(root: Path) -> None:
    (root / "train.txt").write_text("images/train/000000.png\nimages/train/none.png\n")
    say(root, train="train.txt")

    with pytest.raises(SpecError, match="^dataset: .+/train.txt lists images/train/none.png, which is not there$"):
        YoloFolder(str(root)).check()


@pytest.mark.parametrize("twin", ["more/000000.png", "000000.jpg"])
def test_two_pictures_that_share_a_label_are_refused(twin: str, root: Path) -> None:
    (root / "images" / "train" / "more").mkdir()
    shutil.copy(root / "images" / "train" / "000000.png", root / "images" / "train" / twin)

    with pytest.raises(SpecError, match="^dataset: two train pictures are called 000000; names must be unique"):
        YoloFolder(str(root)).check()
