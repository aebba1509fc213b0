from pathlib import Path

import pytest

from secateur.adapters.channel_pruning import ChannelPruner
from secateur.adapters.yolo.door import Yolo
from secateur.errors import StageError
from secateur.ports import Tools
from secateur.stages import gather
from secateur.store import artifact
from tests.conftest import no_progress


@pytest.fixture
def tools(yolo: Yolo) -> Tools:
    return Tools(yolo, ChannelPruner(), yolo, no_progress)


@pytest.fixture
def folder(tmp_path: Path, shapes: Path) -> Path:
    """Two pictures, one of them further down, and something else."""
    train = sorted((shapes.parent / "images" / "train").iterdir())
    for path, target in zip(train, ("a.png", "deeper/b.PNG"), strict=False):
        (tmp_path / "more" / target).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "more" / target).write_bytes(path.read_bytes())
    (tmp_path / "more" / "notes.txt").write_text("no picture")
    return tmp_path / "more"


def gathered(folder: Path, data: Path, tools: Tools, out: Path) -> gather.Outputs:
    out.mkdir()
    return gather.run(gather.Inputs(artifact(folder), artifact(data.parent)), tools, out)


def test_all_pictures_below_the_folder_are_gathered(folder: Path, shapes: Path, tools: Tools, tmp_path: Path) -> None:
    found = gathered(folder, shapes, tools, tmp_path / "out")

    assert found.images == 2
    assert [path.is_file() for path in (found.pictures.path / "images").iterdir()] == [True, True]


def test_a_validation_picture_is_refused_under_any_name(
    folder: Path, shapes: Path, tools: Tools, tmp_path: Path
) -> None:
    seen = next((shapes.parent / "images" / "val").iterdir())
    (folder / "innocent.png").write_bytes(seen.read_bytes())

    with pytest.raises(StageError, match=r"^dataset\.unlabelled: .*innocent\.png is a validation picture"):
        gathered(folder, shapes, tools, tmp_path / "out")


def test_a_folder_without_pictures_is_refused(shapes: Path, tools: Tools, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(StageError, match=r"^dataset\.unlabelled: no pictures in .*empty$"):
        gathered(tmp_path / "empty", shapes, tools, tmp_path / "out")
