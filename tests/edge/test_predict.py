"""`secateur predict`, through the real command."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from secateur import cli
from secateur.edge.coco import run_lengths
from secateur.edge.drawing import colour, draw
from secateur.edge.predictor import Detections
from secateur.edge.sources import camera, output
from tests.test_architecture import TRAINING

Ran = tuple[int, str, str]


@pytest.fixture
def predict(
    seg_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ran]:
    """The command on the random net, in this process, drawing into `out`: exit code, stdout, stderr."""

    def run(*arguments: object, model: Path = seg_onnx) -> Ran:
        command = ["secateur", "predict", model, *arguments, "--out", tmp_path / "out"]
        monkeypatch.setattr(sys, "argv", [str(word) for word in command])
        monkeypatch.setattr(os, "environ", dict(os.environ))
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        return int(exit_.value.code or 0), *capsys.readouterr()

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two good pictures, one of them in a subfolder."""
    (tmp_path / "pictures" / "sub").mkdir(parents=True)
    for name in ("b.png", "sub/a.jpg"):
        Image.fromarray(noise(48, 64)).save(tmp_path / "pictures" / name)
    return tmp_path / "pictures"


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def film(path: Path, frames: int) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for _ in range(frames):
        writer.write(noise(48, 64))
    writer.release()
    return path


def test_a_folder_is_drawn_and_told_as_json(predict: Callable[..., Ran], folder: Path, tmp_path: Path) -> None:
    code, stdout, stderr = predict(folder, "--json", tmp_path / "found.json", "--confidence", 0.01)
    found = json.loads((tmp_path / "found.json").read_text())

    assert (code, stderr) == (0, "")
    assert stdout.startswith("2 pictures, ")
    assert "median ms: preprocess" in stdout
    assert [Path(entry["file"]).name for entry in found] == ["b.png", "a.jpg"]
    assert (found[0]["width"], found[0]["height"]) == (64, 48)
    assert found[0]["ms"].keys() == {"preprocess", "network", "postprocess"}
    assert Image.open(tmp_path / "out" / "sub" / "a.jpg").size == (64, 48)


def test_json_on_stdout_is_nothing_but_json(predict: Callable[..., Ran], folder: Path) -> None:
    code, stdout, stderr = predict(folder / "b.png", "--json", "-", "--confidence", 0.0)
    (seen,) = json.loads(stdout)

    assert code == 0
    assert stderr.startswith("1 picture, ")
    first = seen["detections"][0]
    assert first.keys() == {"label", "name", "score", "box", "mask"}
    assert first["mask"]["size"] == [48, 64]
    assert sum(first["mask"]["counts"]) == 48 * 64


def test_run_lengths_are_cocos() -> None:
    from faster_coco_eval import mask as coco

    rng = np.random.default_rng(0)
    for mask in (rng.random((7, 9)) > 0.5, np.ones((3, 4), bool), np.zeros((3, 4), bool)):
        rle = run_lengths(mask)
        read = coco.decode(coco.frPyObjects(rle, *mask.shape))

        assert (read == mask).all()


def test_nothing_is_drawn_where_none_is_wanted(predict: Callable[..., Ran], folder: Path, tmp_path: Path) -> None:
    code, stdout, _ = predict(folder, "--no-save")

    assert code == 0
    assert "drawn" not in stdout
    assert not (tmp_path / "out").exists()


def test_a_bad_picture_is_told_and_the_others_go_on(predict: Callable[..., Ran], folder: Path) -> None:
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / "empty.jpg").touch()

    code, stdout, stderr = predict(folder)

    assert code == 2
    assert stdout.startswith("2 pictures, ")
    assert [line.partition(" (")[0] for line in stderr.splitlines()] == [
        f"secateur: cannot read the picture {folder / name}" for name in ("broken.png", "empty.jpg")
    ]


def saved(mode: str, path: Path) -> Path:
    Image.fromarray(noise(20, 40)).convert(mode).save(path)
    return path


def sixteen_bits(folder: Path) -> Path:
    Image.fromarray(noise(20, 40)[..., 0].astype(np.uint16) * 257).save(folder / "deep.png")
    return folder / "deep.png"


def turned(folder: Path) -> Path:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise(40, 20)).save(folder / "turned.jpg", exif=exif)
    return folder / "turned.jpg"


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: saved("RGBA", folder / "alpha.png"),
        lambda folder: saved("CMYK", folder / "print.jpg"),
        lambda folder: saved("P", folder / "palette.gif"),
        sixteen_bits,
        turned,
    ],
    ids=["with alpha", "CMYK", "a palette", "16 bits", "turned by EXIF"],
)
def test_pictures_of_every_kind_are_looked_at_upright(
    make: Callable[[Path], Path], predict: Callable[..., Ran], tmp_path: Path
) -> None:
    code, stdout, _ = predict(make(tmp_path), "--json", "-")
    (seen,) = json.loads(stdout)
    (drawn,) = (tmp_path / "out").iterdir()

    assert code == 0
    assert (seen["width"], seen["height"]) == (40, 20)
    assert Image.open(drawn).size == (40, 20)


def test_sixteen_bits_become_eight_as_in_cv2(tmp_path: Path) -> None:
    from secateur.edge.letterbox import read_picture

    path = sixteen_bits(tmp_path)

    assert (read_picture(path) == cv2.imread(str(path))).all()


def test_a_video_is_drawn_as_a_video(predict: Callable[..., Ran], tmp_path: Path) -> None:
    code, stdout, _ = predict(film(tmp_path / "film.avi", 5), "--json", "-")
    written = cv2.VideoCapture(str(tmp_path / "out" / "film.avi.mp4"))

    assert code == 0
    assert [seen["frame"] for seen in json.loads(stdout)] == [0, 1, 2, 3, 4]
    assert written.get(cv2.CAP_PROP_FRAME_COUNT) == 5
    assert written.get(cv2.CAP_PROP_FPS) == 10


def test_a_video_that_ends_early_is_told_and_what_there_was_is_kept(
    predict: Callable[..., Ran], tmp_path: Path
) -> None:
    whole = film(tmp_path / "film.avi", 30).read_bytes()
    (tmp_path / "film.avi").write_bytes(whole[: len(whole) // 2])

    code, stdout, stderr = predict(tmp_path / "film.avi", "--json", "-")

    assert code == 2
    assert 5 < len(json.loads(stdout)) < 25
    assert "film.avi ends after " in stderr
    assert "Traceback" not in stderr


def test_a_video_that_is_none_is_told(predict: Callable[..., Ran], tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(b"no video")

    code, _, stderr = predict(tmp_path / "film.mp4")

    assert code == 2
    assert f"secateur: cannot open the video {tmp_path / 'film.mp4'}" in stderr


def test_a_camera_that_is_not_there_is_told(predict: Callable[..., Ran]) -> None:
    code, _, stderr = predict("97")

    assert code == 2
    assert "secateur: cannot open camera 97" in stderr


@pytest.mark.parametrize(
    ("source", "number"), [("0", 0), ("/dev/video2", 2), ("film.mp4", None), ("/dev/videos", None)]
)
def test_cameras_are_told_from_files(source: str, number: int | None) -> None:
    assert camera(source) == number


@pytest.mark.parametrize("source", [".", "a.png"])
def test_nothing_is_drawn_where_the_pictures_lie(source: str, predict: Callable[..., Ran], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    Image.fromarray(noise(20, 40)).save(tmp_path / "out" / "a.png")

    code, _, stderr = predict(tmp_path / "out" / source)

    assert code == 2
    assert "is where the pictures lie; give another folder" in stderr


def test_json_is_never_written_over_a_picture(predict: Callable[..., Ran], tmp_path: Path) -> None:
    Image.fromarray(noise(20, 40)).save(tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()

    code, _, stderr = predict(tmp_path / "a.png", "--json", tmp_path / "a.png")

    assert code == 2
    assert "name a file that ends in .json" in stderr
    assert (tmp_path / "a.png").read_bytes() == before


def test_each_picture_has_a_drawing_of_its_own(tmp_path: Path) -> None:
    names = [output(tmp_path / name, tmp_path, Path("out")).name for name in ("a.png", "a.tif", "a.jpg")]

    assert names == ["a.png", "a.tif.png", "a.jpg"]


def test_boxes_at_the_edges_and_long_names_are_drawn_within_the_picture() -> None:
    boxes = np.array([[0, 0, 30, 30], [29, 29, 30, 30], [5, 5, 5, 5]], np.float32)
    masks = np.zeros((3, 30, 30), bool)
    masks[0, 10:20, 10:20] = True
    found = Detections(boxes, np.full(3, 0.5, np.float32), np.arange(3, dtype=np.int32), masks)
    pixels = np.full((30, 30, 3), 255, np.uint8)

    drawn = draw(pixels, found, lambda label: "a very long name of a class")

    assert drawn.shape == pixels.shape
    assert (pixels == 255).all()
    assert tuple(drawn[25, 0]) == colour(0)


def test_a_mask_is_half_transparent_with_an_outline() -> None:
    masks = np.zeros((1, 64, 64), bool)
    masks[0, 40:50, 40:50] = True
    found = Detections(np.array([[30, 30, 60, 60]], np.float32), np.ones(1, np.float32), np.ones(1, np.int32), masks)

    drawn = draw(np.zeros((64, 64, 3), np.uint8), found, str)

    assert tuple(drawn[40, 45]) == colour(1)
    assert drawn[45, 45].tolist() == [round(0.45 * value) for value in colour(1)]
    assert drawn[52, 45].tolist() == [0, 0, 0]


def test_neighbouring_classes_have_colours_that_differ() -> None:
    colours = np.array([colour(label) for label in range(80)])
    apart = np.abs(colours[:, None] - colours[None]).sum(2) + 999 * np.eye(80, dtype=int)

    assert apart.min() > 10
    assert min(apart[at, at + 1] for at in range(79)) > 150


def test_a_prediction_imports_neither_a_training_stack_nor_onnx_nor_cv2(seg_onnx: Path, folder: Path) -> None:
    code = (
        "import sys; from secateur.cli.commands import app\n"
        f"try: app(['predict', {str(seg_onnx)!r}, {str(folder)!r}, '--out', {str(folder.parent / 'out')!r}])\n"
        "except SystemExit: pass\n"
        "print(' '.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    seen: set[Any] = {name.partition(".")[0] for name in done.stdout.split()}

    assert "onnxruntime" in seen
    assert "2 pictures" in done.stdout
    assert seen & (TRAINING | {"onnx", "cv2", "matplotlib", "pandas", "scipy"}) == set()
