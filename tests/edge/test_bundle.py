import json
import os
import shutil
import stat
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from secateur.edge.bundle import is_bundle, opened, runtime
from secateur.errors import ExportError, SecateurError, SpecError
from secateur.packing import pack
from tests.example_run import write_run

Change = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    pack(write_run(folder), folder / "bundle", [])
    return folder / "bundle"


@pytest.fixture
def folder(packed: Path, tmp_path: Path) -> Path:
    """A bundle's folder, to be spoilt."""
    return Path(shutil.copytree(packed, tmp_path / "bundle"))


def change(folder: Path, by: Change) -> None:
    """Writes the manifest anew."""
    manifest = json.loads((folder / "manifest.json").read_text())
    by(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def zipped(folder: Path) -> Path:
    return Path(shutil.make_archive(str(folder), "zip", folder))


def listing(content: bytes) -> dict[str, Any]:
    return {"sha256": sha256(content).hexdigest(), "size_bytes": len(content)}


def refusal(place: Path) -> str:
    with pytest.raises(SecateurError) as caught, opened(place):
        pass
    (line,) = str(caught.value).splitlines()
    return line


# ---- as it should be -----------------------------------------------------------------------------


@pytest.mark.parametrize("way", [lambda folder: folder, zipped], ids=["folder", "zip"])
def test_a_bundle_opens_and_its_models_run(way: Callable[[Path], Path], folder: Path) -> None:
    with opened(way(folder)) as bundle:
        session = bundle.runtime(bundle.manifest.selected).open(bundle.model(bundle.manifest.selected))

        assert session.input_shape == (1, 3, 64, 64)
        assert bundle.digest == sha256((folder / "manifest.json").read_bytes()).hexdigest()
        assert all(path.is_file() for path in bundle.samples)


def test_what_a_zip_was_unpacked_to_is_gone_afterwards(folder: Path) -> None:
    with opened(zipped(folder)) as bundle:
        place = bundle.folder
        assert place != folder

    assert not place.exists()


def test_a_file_beside_the_listed_ones_does_no_harm(folder: Path) -> None:
    (folder / "device.json").write_text("{}")

    with opened(folder) as bundle:
        assert bundle.manifest.selected


def test_bundles_are_told_from_model_files(folder: Path) -> None:
    assert is_bundle(folder)
    assert is_bundle(zipped(folder))
    assert not is_bundle(folder / "models")
    assert not is_bundle(folder / "models" / "baseline-fp32.onnx")


# ---- changed, damaged or newer -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["models/pruned-int8_static.onnx", "labels.txt", "samples/expected.json", "README.md"])
@pytest.mark.parametrize("way", [lambda folder: folder, zipped], ids=["folder", "zip"])
def test_a_changed_byte_is_refused(way: Callable[[Path], Path], name: str, folder: Path) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)

    assert refusal(way(folder)) == f"{name} is not what was bundled (its sha256 differs); get the bundle anew"


@pytest.mark.parametrize("way", [lambda folder: folder, zipped], ids=["folder", "zip"])
def test_a_missing_file_is_told(way: Callable[[Path], Path], folder: Path) -> None:
    (folder / "labels.txt").unlink()

    assert "labels.txt is missing from " in refusal(way(folder))


@pytest.mark.parametrize("way", [lambda folder: folder, zipped], ids=["folder", "zip"])
def test_a_manifest_of_a_newer_version_says_to_upgrade(way: Callable[[Path], Path], folder: Path) -> None:
    def newer(manifest: dict[str, Any]) -> None:
        manifest.clear()
        manifest.update(format=2, models="whatever a later version makes of it")

    change(folder, newer)

    line = refusal(way(folder))
    assert "manifest.json has format 2, and secateur " in line
    assert line.endswith("reads up to 1: pip install --upgrade secateur")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": "one"}', b'{"format": 1}', b"\xff", b"[" * 100_000])
def test_a_damaged_manifest_is_refused(content: bytes, folder: Path) -> None:
    (folder / "manifest.json").write_bytes(content)

    assert "manifest.json is damaged, or no such file: " in refusal(folder)


def test_what_is_no_bundle_at_all_is_told(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"onnx")

    assert refusal(tmp_path / "model.onnx").endswith("neither a folder nor a .zip; make one: secateur bundle")
    assert refusal(tmp_path / "nowhere").endswith("nowhere is there")
    assert refusal(tmp_path).startswith("cannot read ")


def test_a_zip_that_breaks_off_is_told(folder: Path) -> None:
    archive = zipped(folder)
    archive.write_bytes(archive.read_bytes()[:-200])

    assert "neither a folder nor a .zip" in refusal(archive)


# ---- what would lead out of the folder ------------------------------------------------------------

OUTSIDE = ["../evil", "models/../../evil", "/etc/passwd", "..\\evil", "C:evil", "models//x", "./x", "", ".", "a\nb"]


@pytest.mark.parametrize("path", OUTSIDE)
@pytest.mark.parametrize("way", [lambda folder: folder, zipped], ids=["folder", "zip"])
def test_a_path_that_is_not_plainly_inside_is_refused(way: Callable[[Path], Path], path: str, folder: Path) -> None:
    change(folder, lambda manifest: manifest["files"].update({path: listing(b"evil")}))

    assert f"it lists {path!r}, which is no path inside the bundle" in refusal(way(folder))


@pytest.mark.parametrize("file", ["../evil.onnx", "/etc", "", ".", "labels.txt", "models", "models/../labels.txt"])
def test_a_model_that_lies_elsewhere_is_refused(file: str, folder: Path) -> None:
    change(folder, lambda manifest: manifest["models"][0].update(file=file))

    assert f"pruned-int8_static's file is {file!r}, which is no path below models" in refusal(folder)


def test_a_link_that_leads_out_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / "labels.txt", tmp_path / "elsewhere.txt")
    (folder / "labels.txt").symlink_to(tmp_path / "elsewhere.txt")

    assert refusal(folder) == "labels.txt leads out of the bundle by a link; get the bundle anew"


@pytest.mark.parametrize("name", ["models/more", "samples/more"])
def test_a_linked_folder_that_is_not_listed_is_refused(name: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (folder / name).symlink_to(tmp_path / "elsewhere")

    assert f"{name} is not listed in the manifest" in refusal(folder)


def test_links_that_lead_in_a_circle_are_told(folder: Path) -> None:
    (folder / "labels.txt").unlink()
    (folder / "labels.txt").symlink_to(folder / "labels.txt")

    assert "labels.txt" in refusal(folder)


def test_a_link_in_a_zip_is_refused(folder: Path) -> None:
    with zipfile.ZipFile(folder.with_suffix(".zip"), "w") as archive:
        for path in sorted(folder.rglob("*.*")):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix())
            is_link = path.name == "labels.txt"
            entry.external_attr = ((stat.S_IFLNK if is_link else stat.S_IFREG) | 0o644) << 16
            archive.writestr(entry, b"/etc/passwd" if is_link else path.read_bytes())

    assert "labels.txt in " in refusal(folder.with_suffix(".zip"))
    assert refusal(folder.with_suffix(".zip")).endswith("is a link; get the bundle anew")


@pytest.mark.parametrize("name", ["models/more.bin", "samples/more.png"])
def test_a_file_that_a_runtime_might_read_must_be_listed(name: str, folder: Path) -> None:
    (folder / name).write_bytes(b"more")

    assert f"{Path(name).name} is not listed in the manifest" in refusal(folder)


def test_what_a_zip_holds_beyond_the_listed_is_left_packed(folder: Path) -> None:
    archive = zipped(folder)
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("../../evil.txt", "evil")
        file.writestr("models/more.bin", "more")

    with opened(archive) as bundle:
        assert not (bundle.folder / "models" / "more.bin").exists()
        assert not (bundle.folder.parents[1] / "evil.txt").exists()


# ---- what would fill the disk, or run something -----------------------------------------------------


def test_a_file_that_unpacks_to_more_than_is_listed_is_broken_off(folder: Path) -> None:
    (folder / "labels.txt").write_bytes(b"\0" * 50_000_000)  # some 50 kB, packed

    line = refusal(zipped(folder))
    assert line.startswith("labels.txt is larger than the 8 bytes that it may have")


def test_a_bundle_too_large_for_the_disk_is_refused_before_it_is_unpacked(folder: Path) -> None:
    change(folder, lambda manifest: manifest["files"]["labels.txt"].update(size_bytes=10**13))

    assert "unpacks to 10000000 MB, more than the " in refusal(zipped(folder))


def test_a_size_below_nothing_makes_no_room_for_others(folder: Path) -> None:
    def cheat(manifest: dict[str, Any]) -> None:
        manifest["files"]["labels.txt"]["size_bytes"] = -(10**13)
        manifest["files"]["README.md"]["size_bytes"] = 10**13

    change(folder, cheat)

    assert "more than the " in refusal(zipped(folder))


def test_a_runtime_must_be_one_of_ours(folder: Path) -> None:
    change(folder, lambda manifest: manifest["models"][0].update(runtime="os.system"))

    with opened(folder) as bundle, pytest.raises(SpecError, match="no runtime named 'os.system'; there are "):
        bundle.runtime("pruned-int8_static")


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"threads": "2"}, "runtime onnxruntime cannot be set so: Expected `int`, got `str`"),
        ({"threads": -1}, "runtime onnxruntime cannot be set so: threads must be 0"),
        ({"library": "/tmp/evil.so"}, "runtime onnxruntime has no setting 'library'; there are threads, "),
    ],
)
def test_settings_of_a_runtime_are_checked(values: dict[str, Any], line: str) -> None:
    with pytest.raises(ExportError, match=line):
        runtime("onnxruntime", values)


@pytest.mark.parametrize("value", ["/tmp/evil.so", "3", 0.5, None])
def test_options_of_a_provider_that_may_name_a_library_are_refused(value: Any, folder: Path) -> None:
    fields = {"threads": 1, "provider": "QNNExecutionProvider", "provider_options": {"backend_path": value}}
    change(folder, lambda manifest: manifest["models"][0].update(runtime_fields=fields))

    line = f"pruned-int8_static's provider_options must be whole numbers in a bundle, got {{'backend_path': {value!r}}}"
    assert line in refusal(folder)


def test_options_of_a_provider_that_are_whole_numbers_are_taken(folder: Path) -> None:
    fields = {"threads": 1, "provider": "CUDAExecutionProvider", "provider_options": {"device_id": 1}}
    change(folder, lambda manifest: manifest["models"][0].update(runtime_fields=fields))

    with opened(folder) as bundle:
        assert bundle.packed("pruned-int8_static").runtime_fields == fields


def test_a_model_is_named_by_what_may_name_a_file(folder: Path) -> None:
    change(folder, lambda manifest: manifest["models"][0].update(name="../../evil"))

    assert "a model is named '../../evil', which is no plain name" in refusal(folder)


def test_a_model_that_the_bundle_does_not_hold_is_told(folder: Path) -> None:
    with opened(folder) as bundle, pytest.raises(ExportError, match="no model 'int4'; there are pruned-int8_static, "):
        bundle.model("int4")


def test_a_bundle_without_the_right_to_read_it_is_told(folder: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (folder / "manifest.json").chmod(0)

    assert refusal(folder).startswith("cannot read ")
