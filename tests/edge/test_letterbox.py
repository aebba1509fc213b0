from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from ultralytics.data.augment import LetterBox

from secateur.edge.letterbox import letterbox, place, read_picture, resize
from secateur.errors import StageError

SIZES = [(480, 640), (427, 640), (640, 359), (100, 100), (37, 211), (1280, 1280), (1, 300), (333, 500)]


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("imgsz", [96, 640])
def test_letterbox_is_that_of_ultralytics_to_within_one_grey_level(height: int, width: int, imgsz: int) -> None:
    pixels = noise(height, width)

    theirs = LetterBox((imgsz, imgsz), auto=False, scaleup=True)(image=pixels.copy())

    assert np.abs(letterbox(pixels, imgsz)[0].transpose(1, 2, 0) * 255 - theirs).max() < 1.001


@pytest.mark.parametrize("size", [(64, 48), (31, 97), (400, 300), (1, 1)])
def test_resize_is_cv2_inter_linear_to_within_one_grey_level(size: tuple[int, int]) -> None:
    pixels = noise(200, 150)

    theirs = cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_LINEAR)

    assert np.abs(resize(pixels, *size) - theirs).max() <= 1


def test_a_letterboxed_picture_is_what_a_net_takes() -> None:
    image = letterbox(noise(30, 60), 64)

    assert image.shape == (1, 3, 64, 64)
    assert image.dtype == np.float32
    assert image.flags.c_contiguous
    assert 0 <= image.min() <= image.max() <= 1


def test_padding_is_grey_114_around_the_place_of_the_picture() -> None:
    at = place(30, 61, 64)
    image = letterbox(noise(30, 61), 64)

    outside = np.ones((64, 64), bool)
    outside[at.top : at.top + at.height, at.left : at.left + at.width] = False

    assert (image[0][:, outside] == np.float32(114 / 255)).all()


def test_colours_are_read_as_rgb(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), (255, 128, 0)).save(tmp_path / "orange.png")

    assert read_picture(tmp_path / "orange.png")[0, 0].tolist() == [255, 128, 0]


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK"])
def test_pictures_of_every_colour_mode_get_three_channels(mode: str, tmp_path: Path) -> None:
    Image.new(mode, (5, 4)).save(tmp_path / "picture.tiff")

    assert read_picture(tmp_path / "picture.tiff").shape == (4, 5, 3)


def test_pictures_are_turned_as_their_exif_data_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn by 90 degrees
    Image.new("RGB", (40, 20)).save(tmp_path / "turned.jpg", exif=exif)

    assert read_picture(tmp_path / "turned.jpg").shape == cv2.imread(str(tmp_path / "turned.jpg")).shape == (40, 20, 3)


def test_a_file_that_is_no_picture_is_told_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"not a picture")

    with pytest.raises(StageError, match=r"cannot read the picture .*broken\.jpg"):
        read_picture(tmp_path / "broken.jpg")


def test_a_truncated_picture_is_told_by_its_path(tmp_path: Path) -> None:
    Image.fromarray(noise(64, 64)).save(tmp_path / "half.jpg")
    whole = (tmp_path / "half.jpg").read_bytes()
    (tmp_path / "half.jpg").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(StageError, match=r"half\.jpg"):
        read_picture(tmp_path / "half.jpg")
