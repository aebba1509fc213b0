from pathlib import Path

import pytest

from secateur.adapters.channel_pruning import ChannelPruner
from secateur.adapters.yolo.door import Yolo
from secateur.errors import StageError
from secateur.ports import Tools
from secateur.results import Artifact
from secateur.stages import annotate
from secateur.stages.prepare import _fault
from secateur.store import artifact
from tests.conftest import IMGSZ, no_progress


@pytest.fixture
def pictures(easy_shapes: Path, tmp_path: Path) -> Artifact:
    """Those of the validation set, as if nobody had labelled them."""
    (tmp_path / "gathered").mkdir()
    (tmp_path / "gathered" / "images").symlink_to(easy_shapes.parent / "images" / "val")
    return artifact(tmp_path / "gathered")


def annotated(yolo: Yolo, net: Path, pictures: Artifact, confidence: float, out: Path) -> annotate.Outputs:
    out.mkdir()
    tools = Tools(yolo, ChannelPruner(), yolo, no_progress)
    return annotate.run(annotate.Inputs(artifact(net), pictures, confidence, IMGSZ), tools, out)


def test_every_picture_gets_the_labels_that_the_net_is_sure_of(
    yolo: Yolo, trained_checkpoint: Path, pictures: Artifact, tmp_path: Path
) -> None:
    made = annotated(yolo, trained_checkpoint, pictures, 0.1, tmp_path / "out")

    images = sorted(path.stem for path in (made.pictures.path / "images").iterdir())
    labels = sorted((made.pictures.path / "labels").iterdir())
    lines = [line.split() for path in labels for line in path.read_text().splitlines()]
    assert [path.stem for path in labels] == images
    assert len(lines) == made.instances > 0
    assert all(_fault(words, 5) is None and len(words) >= 7 for words in lines)


def test_a_net_that_is_sure_of_nothing_is_refused(
    yolo: Yolo, seg_checkpoint: Path, pictures: Artifact, tmp_path: Path
) -> None:
    with pytest.raises(StageError, match=r"sure of nothing there at distillation\.confidence=0\.99; lower it$"):
        annotated(yolo, seg_checkpoint, pictures, 0.99, tmp_path / "out")
