import json
import shlex
import zipfile
from dataclasses import asdict
from pathlib import Path

import pytest

from secateur import plugins
from secateur.edge import device
from secateur.edge.bundle import opened
from secateur.errors import ExportError, SpecError
from secateur.packing import candidates_of, default_place, pack
from secateur.ports import ConvertingRuntime
from secateur.results import BASELINE
from secateur.store import digest
from tests.example_report import failed
from tests.example_run import ID, IMGSZ, NAMES, write_report, write_run


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return write_run(tmp_path / "outputs")


def test_a_bundle_holds_what_is_selected_and_what_its_speedup_is_over(run_dir: Path, tmp_path: Path) -> None:
    manifest = pack(run_dir, tmp_path / "bundle", []).manifest

    assert list(manifest.by_name) == ["pruned-int8_static", BASELINE]
    assert (manifest.selected, manifest.reference) == ("pruned-int8_static", BASELINE)
    assert (manifest.task, manifest.names, manifest.imgsz) == ("detect", NAMES, IMGSZ)
    assert manifest.run.id == ID
    assert manifest.by_name[BASELINE].runtime_fields["threads"] == 1


def test_what_the_run_measured_goes_along(run_dir: Path, tmp_path: Path) -> None:
    manifest = pack(run_dir, tmp_path / "bundle", []).manifest

    ships = manifest.by_name["pruned-int8_static"]
    assert (ships.latency.ms.p50, ships.latency.speedup.median) == (21.6, 2.73)
    assert ships.accuracy.box_map50_95 == 0.371
    assert ships.accuracy_change is not None
    assert manifest.device.processor == "Intel Xeon 8481C"


@pytest.mark.parametrize("named", [["pruned-fp32"], ["pruned-fp32", BASELINE, "pruned-fp32"]])
def test_other_candidates_go_along_when_they_are_named_once(named: list[str], run_dir: Path, tmp_path: Path) -> None:
    manifest = pack(run_dir, tmp_path / "bundle", named).manifest

    assert sorted(manifest.by_name) == [BASELINE, "pruned-fp32", "pruned-int8_static"]


def test_another_file_than_the_run_selected_can_be_shipped(run_dir: Path, tmp_path: Path) -> None:
    manifest = pack(run_dir, tmp_path / "bundle", ["pruned-int8_static"], ship="pruned-fp32").manifest

    assert list(manifest.by_name) == ["pruned-fp32", "pruned-int8_static", BASELINE]
    assert manifest.selected == "pruned-fp32"
    assert "`pruned-fp32` is the one to use" in (tmp_path / "bundle" / "README.md").read_text()
    assert default_place(run_dir, tmp_path, "pruned-fp32").name.endswith("-pruned-fp32")


def test_a_file_that_the_run_does_not_have_is_not_shipped(run_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="the run has no candidate 'pruned-fp23'.*did you mean 'pruned-fp32'"):
        pack(run_dir, tmp_path / "bundle", [], ship="pruned-fp23")
    assert not (tmp_path / "bundle").exists()


def test_of_a_run_that_selected_nothing_the_newest_beside_it_that_did_is_named(tmp_path: Path) -> None:
    write_run(tmp_path / "outputs")
    failed = tmp_path / "outputs" / "runs" / "99990101-000000-000000_failed"
    failed.mkdir()
    told = {"run": {"error": "no file 'best.pt'"}, "selected": None, "why": None}
    (failed / "report.json").write_text(json.dumps(told))

    with pytest.raises(SpecError, match=f"selected nothing .*: no file 'best.pt'; the newest that did: .*{ID}$"):
        pack(failed, tmp_path / "bundle", [])


def test_a_file_that_gives_nothing_of_use_is_not_shipped(run_dir: Path, tmp_path: Path) -> None:
    report = json.loads((run_dir / "report.json").read_text())
    next(c for c in report["candidates"] if c["name"] == "pruned-fp32")["fault"] = "output0 is not finite"
    (run_dir / "report.json").write_text(json.dumps(report))

    with pytest.raises(SpecError, match="^pruned-fp32 is of no use: output0 is not finite; give --ship another"):
        pack(run_dir, tmp_path / "bundle", [], ship="pruned-fp32")


def test_all_candidates_can_be_named(run_dir: Path, tmp_path: Path) -> None:
    assert len(pack(run_dir, tmp_path / "bundle", candidates_of(run_dir)).manifest.models) == 4


def test_a_bundle_is_readable_by_people_too(run_dir: Path, tmp_path: Path) -> None:
    pack(run_dir, tmp_path / "bundle", [])

    told = (tmp_path / "bundle" / "README.md").read_text()
    assert (tmp_path / "bundle" / "labels.txt").read_text() == "cat\ndog\n"
    assert "detects 2 kinds of objects, in pictures of 64 px" in told
    assert "| `pruned-int8_static` | 1.71 M | 3.18 G | 0.371 | – | 21.6 | 2.7× (2.6–2.8) |" in told
    assert "Intel Xeon 8481C" in told


def test_no_place_and_no_secret_of_this_machine_goes_along(run_dir: Path, tmp_path: Path) -> None:
    pack(run_dir, tmp_path / "bundle", [])

    texts = [path.read_text() for path in (tmp_path / "bundle").rglob("*") if path.suffix in {".json", ".md", ".txt"}]
    assert not any("/home" in text or "secret" in text or str(tmp_path) in text for text in texts)
    assert json.loads((tmp_path / "bundle" / "settings.json").read_text())["dataset"]["root"] == "cats"
    assert json.loads((tmp_path / "bundle" / "manifest.json").read_text())["run"]["command"] == (
        "secateur run name=demo dataset.root=cats"
    )


@pytest.mark.parametrize(
    ("word", "kept"),
    [
        ("++tracking.uri=http://ann:secret@host", ""),
        ("+tracking.uri=http://ann:secret@host", ""),
        ("~tracking", ""),
        ("tracking=none", ""),
        ("outputs=/home/ann/out", ""),
        ("workers_of_ours=3", "workers_of_ours=3"),
        ("model.weights=file:///home/ann/x.pt", "model.weights=x.pt"),
        ("model.weights=sqlite:////home/ann/x.db", "model.weights=x.db"),
        ("dataset.root=../../ann/private/cats", "dataset.root=cats"),
        ("dataset.root=data/../../ann/cats", "dataset.root=cats"),
        ("dataset={root:/home/ann/cats}", "dataset={root:cats}"),
        ("dataset.root=~ann/cats", "dataset.root=cats"),
        ("dataset.url=https://host/cats.zip", "dataset.url=https://host/cats.zip"),
        ("name=a..b", "name=a..b"),
    ],
)
def test_of_a_command_nothing_is_kept_that_is_nobodys_business(
    word: str, kept: str, run_dir: Path, tmp_path: Path
) -> None:
    report = json.loads((run_dir / "report.json").read_text())
    report["run"]["command"] = shlex.join(["secateur", "run", word])
    report["run"]["spec"]["dataset"]["root"] = word.partition("=")[2]
    (run_dir / "report.json").write_text(json.dumps(report))

    manifest = pack(run_dir, tmp_path / "bundle", []).manifest

    assert shlex.split(manifest.run.command) == ["secateur", "run", *filter(None, [kept])]
    assert "/home" not in (tmp_path / "bundle" / "settings.json").read_text()


def test_the_zip_holds_the_same_as_the_folder(run_dir: Path, tmp_path: Path) -> None:
    pack(run_dir, tmp_path / "bundle", [])

    with zipfile.ZipFile(tmp_path / "bundle.zip") as archive:
        zipped = {name: archive.read(name) for name in archive.namelist()}
    files = [path for path in (tmp_path / "bundle").rglob("*") if path.is_file()]
    assert zipped == {path.relative_to(tmp_path / "bundle").as_posix(): path.read_bytes() for path in files}


def test_bundling_again_takes_the_place_of_what_was_there(run_dir: Path, tmp_path: Path) -> None:
    pack(run_dir, tmp_path / "bundle", ["pruned-fp32"])
    pack(run_dir, tmp_path / "bundle", [])

    with opened(tmp_path / "bundle.zip") as bundle:
        assert len(bundle.manifest.models) == 2
    assert {path.name for path in (tmp_path / "bundle" / "models").iterdir()} == {
        "pruned-int8_static.onnx",
        "baseline-fp32.onnx",
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "bundle.zip", "outputs"]


def test_pictures_of_ones_own_take_the_place_of_the_drawn_ones(run_dir: Path, tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "mine").mkdir()
    Image.new("RGB", (90, 50), "red").save(tmp_path / "mine" / "red.jpg")
    Image.new("RGB", (90, 50), "red").save(tmp_path / "mine" / "red.tif")

    manifest = pack(run_dir, tmp_path / "bundle", [], tmp_path / "mine").manifest

    assert manifest.samples == ("samples/red.jpg", "samples/red.tif")


@pytest.mark.parametrize("name", ["openvino", "ncnn"])
def test_a_file_of_another_runtime_goes_along_with_its_settings(name: str, run_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("pnnx" if name == "ncnn" else name)
    in_runtime(run_dir, name)

    pack(run_dir, tmp_path / "bundle", [])

    with opened(tmp_path / "bundle.zip") as bundle:
        ships = bundle.packed(f"pruned-int8_static-{name}")
        assert (ships.runtime, ships.runtime_fields["precision"]) == (name, "f32")
        assert bundle.packed(BASELINE).runtime == "onnxruntime"
        assert bundle.packed(BASELINE).runtime_fields == {"threads": 1}
        assert device.tested(bundle).faults == {}


def in_runtime(run_dir: Path, name: str) -> None:
    """Makes it a run of that runtime, whose selected file may be a folder."""
    part = plugins.load("runtime", name)(threads=1)
    report = json.loads((run_dir / "report.json").read_text())
    (ships,) = (c for c in report["candidates"] if c["name"] == report["selected"])
    report["run"]["spec"]["runtime"] = {"name": name, **asdict(part)}
    report["selected"] = f"{report['selected']}-{name}"
    ships |= {"name": report["selected"], "runtime": name}
    if isinstance(part, ConvertingRuntime):
        part.convert(run_dir / ships["file"], run_dir / "models" / report["selected"])
        ships["file"] = f"models/{report['selected']}"
        ships["sha256"] = digest(run_dir / ships["file"])
    (run_dir / "report.json").write_text(json.dumps(report))


def test_a_folder_that_is_not_the_measured_one_is_refused(run_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("pnnx")
    in_runtime(run_dir, "ncnn")
    with (run_dir / "models" / "pruned-int8_static-ncnn" / "model.ncnn.bin").open("ab") as file:
        file.write(b"more")

    with pytest.raises(ExportError, match="pruned-int8_static-ncnn is not what was measured .its sha256 differs"):
        pack(run_dir, tmp_path / "bundle", [])


def test_options_of_a_provider_that_may_name_a_library_are_not_bundled(run_dir: Path, tmp_path: Path) -> None:
    report = json.loads((run_dir / "report.json").read_text())
    report["run"]["spec"]["runtime"]["provider_options"] = {"backend_path": "libQnnHtp.so"}
    (run_dir / "report.json").write_text(json.dumps(report))

    with pytest.raises(SpecError, match="provider_options must be whole numbers in a bundle, got .*libQnnHtp.so"):
        pack(run_dir, tmp_path / "bundle", [])
    assert not (tmp_path / "bundle").exists()


# ---- what cannot be bundled ----------------------------------------------------------------------


def test_a_run_without_anything_to_ship_is_refused(run_dir: Path, tmp_path: Path) -> None:
    write_report(run_dir, failed())

    with pytest.raises(SpecError, match="selected nothing that could be bundled: finetune: no space left on device"):
        pack(run_dir, tmp_path / "bundle", [])
    assert not (tmp_path / "bundle").exists()


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="nowhere holds no finished run; do one: secateur run"):
        pack(tmp_path / "nowhere", tmp_path / "bundle", [])


def test_a_candidate_that_is_not_there_is_refused(run_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="the run has no candidate 'int4'; there are baseline-fp32, "):
        pack(run_dir, tmp_path / "bundle", ["int4"])


def test_a_run_whose_name_is_no_plain_one_is_refused(run_dir: Path, tmp_path: Path) -> None:
    report = json.loads((run_dir / "report.json").read_text())
    report["run"]["id"] = "20261125-120000-000001_my run"
    (run_dir / "report.json").write_text(json.dumps(report))

    with pytest.raises(SpecError, match="cannot be bundled: the run is '20261125-120000-000001_my run', which is no"):
        pack(run_dir, tmp_path / "bundle", [])


def test_a_file_that_is_not_the_measured_one_is_refused(run_dir: Path, tmp_path: Path) -> None:
    (run_dir / "models" / "pruned-int8_static.onnx").write_bytes(b"other")

    with pytest.raises(ExportError, match="pruned-int8_static.onnx is not what was measured"):
        pack(run_dir, tmp_path / "bundle", [])
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]


def test_a_file_that_is_gone_is_told(run_dir: Path, tmp_path: Path) -> None:
    (run_dir / "models" / "pruned-int8_static.onnx").unlink()

    with pytest.raises(ExportError, match="pruned-int8_static.onnx is gone; run again"):
        pack(run_dir, tmp_path / "bundle", [])


def test_a_folder_that_is_no_bundle_is_not_replaced(run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()

    with pytest.raises(SpecError, match="thesis is there and is no bundle; choose another folder with --out"):
        pack(run_dir, tmp_path / "thesis", [])


def test_samples_of_which_too_much_would_be_told_are_refused(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secateur.packing.LARGEST_JSON", 2**10)  # 64 MB are those of some hundred pictures

    with pytest.raises(SpecError, match="--samples: what the files give for 4 pictures takes .* MB, more than "):
        pack(run_dir, tmp_path / "bundle", [])


def test_a_folder_without_pictures_is_no_sample(run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(SpecError, match="no pictures in .*empty"):
        pack(run_dir, tmp_path / "bundle", [], tmp_path / "empty")
