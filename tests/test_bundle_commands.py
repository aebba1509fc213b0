"""From a run to the device and back, by the commands that a person types."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from secateur import __version__, cli
from tests.example_run import ID, NAMES, write_run

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def secateur(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """The command, in this process and a folder of its own: its exit code, and what it wrote to stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def say(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["secateur", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        return code, *capsys.readouterr()

    return say


@pytest.fixture
def bundle(secateur: Say, tmp_path: Path) -> str:
    """Of a run in outputs/latest."""
    (tmp_path / "outputs" / "latest").symlink_to(write_run(tmp_path / "outputs"))
    code, said, _ = secateur("bundle")
    assert code == 0
    assert f"outputs/bundles/{ID}-pruned-int8_static.zip" in said
    return f"outputs/bundles/{ID}-pruned-int8_static.zip"


def test_a_bundle_is_benched_and_what_was_found_is_written(bundle: str, secateur: Say, tmp_path: Path) -> None:
    code, said, _ = secateur("bench", bundle, "--json", "device.json", "--seconds", "1")

    assert code == 0
    assert "✓ pruned-int8_static gives what it should" in said
    assert said.endswith("Next     secateur replay device.json   where the run is\n")
    assert json.loads((tmp_path / "device.json").read_text())["run_id"] == ID


def test_a_bundle_predicts_with_what_it_selected_and_its_names(bundle: str, secateur: Say, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(256, size=(48, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")

    code, said, _ = secateur("predict", bundle, "picture.png", "--json", "-", "--no-save")

    found = json.loads(said)[0]["detections"]
    assert code == 0
    assert found
    assert {each["name"] for each in found} <= set(NAMES)


@pytest.mark.parametrize("option", [("--runtime", "openvino"), ("--threads", "4")])
def test_a_bundle_says_itself_how_it_is_run(option: tuple[str, str], bundle: str, secateur: Say) -> None:
    code, _, stderr = secateur("predict", bundle, "picture.png", *option)

    assert code == 2
    assert stderr == (
        f"secateur: {option[0]}: {bundle} is a bundle, which runs as it was measured; leave out {' '.join(option)}\n"
    )


@pytest.mark.parametrize("command", [("bench",), ("predict",)])
def test_a_bundle_with_a_changed_byte_gets_one_line(command: tuple[str], bundle: str, secateur: Say) -> None:
    folder = bundle.removesuffix(".zip")
    model = Path(folder) / "models" / "pruned-int8_static.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"\0")

    code, _, stderr = secateur(*command, folder, *(["picture.png"] if command == ("predict",) else []))

    assert code == 2
    (line,) = stderr.splitlines()
    assert line.startswith("secateur: models/pruned-int8_static.onnx is not what was bundled (its sha256 differs)")


def test_a_device_of_an_unknown_run_gets_one_line(secateur: Say, tmp_path: Path) -> None:
    (tmp_path / "device.json").write_text('{"format": 7}')

    code, _, stderr = secateur("replay", "device.json")

    assert code == 2
    assert stderr.startswith("secateur: device.json has format 7, and secateur ")
    assert list(tmp_path.iterdir()) == [tmp_path / "device.json"]


def test_the_version_is_told(secateur: Say) -> None:
    assert secateur("--version")[:2] == (0, f"secateur {__version__}\n")
