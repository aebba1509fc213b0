"""A candidate's file in MLflow's model registry."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from secateur import cli
from secateur.adapters.tracking import Registered, register, replay
from secateur.errors import TrackingError
from secateur.runtimes.onnxruntime import Onnxruntime
from tests.example_run import ID, write_run
from tests.example_tracking import client

LOAD = """
import sys, numpy, mlflow
loaded = mlflow.pyfunc.load_model(sys.argv[1])
told = loaded.predict({"images": numpy.load(sys.argv[2])})
numpy.save(sys.argv[3], told["output0"])
example = loaded.input_example
loaded.predict(example)
print(example["images"].shape, example["images"].dtype, "torch" in sys.modules)
"""

REGISTER = """
import sys
from pathlib import Path
from secateur.adapters.tracking import register
register(Path(sys.argv[1]), None, sys.argv[2])
print("torch" in sys.modules)
"""


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("outputs"))


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('registry') / 'mlflow.db'}"


@pytest.fixture(scope="module")
def champion(run_dir: Path, uri: str) -> Registered:
    return register(run_dir, None, uri)


def version(uri: str, found: Registered) -> Any:
    return client(uri).get_model_version_by_alias(found.name, "champion")


def report(run_dir: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((run_dir / "report.json").read_text())
    return told


def test_the_champion_is_what_the_run_selected_with_whence_it_is(uri: str, run_dir: Path, champion: Registered) -> None:
    told = version(uri, champion)

    (selected,) = [c for c in report(run_dir)["candidates"] if c["name"] == "pruned-int8_static"]
    assert champion == Registered("secateur", 1, is_new=True)
    assert told.version in (1, "1")
    assert told.tags["run"] == ID
    assert told.tags["candidate"] == "pruned-int8_static"
    assert told.tags["sha256"] == selected["sha256"]
    assert told.tags["git"] == "1a2b3c4"
    assert told.tags["dataset.digest"] == "ab"
    assert told.tags["latency_ms_p50"] == "21.6"
    assert told.tags["box_map50_95"] == "0.371"
    assert told.tags["command"] == report(run_dir)["run"]["command"]
    assert client(uri).get_run(told.run_id).data.tags["run_dir"] == run_dir.as_posix()


def test_what_is_loaded_by_its_alias_gives_what_the_file_gives(
    uri: str, run_dir: Path, champion: Registered, tmp_path: Path
) -> None:
    picture = np.random.default_rng(0).random((1, 3, 64, 64), dtype=np.float32)
    np.save(tmp_path / "picture.npy", picture)

    loaded = subprocess.run(
        [sys.executable, "-c", LOAD, champion.uri, tmp_path / "picture.npy", tmp_path / "given.npy"],
        env=os.environ | {"MLFLOW_TRACKING_URI": uri}, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert loaded.stdout == "(1, 3, 64, 64) float32 False\n", loaded.stderr
    (expected,) = Onnxruntime(threads=1).open(run_dir / "models" / "pruned-int8_static.onnx").run(picture)
    assert np.allclose(np.load(tmp_path / "given.npy"), expected, atol=1e-5)


def test_the_file_is_kept_byte_by_byte_with_its_signature(
    uri: str, run_dir: Path, champion: Registered, tmp_path: Path
) -> None:
    from mlflow.artifacts import download_artifacts
    from mlflow.models import Model

    place = client(uri).get_model_version_download_uri(champion.name, str(champion.version))
    folder = Path(download_artifacts(artifact_uri=place, dst_path=str(tmp_path)))

    model = Model.load(str(folder))
    assert (folder / "model.onnx").read_bytes() == (run_dir / "models" / "pruned-int8_static.onnx").read_bytes()
    assert [(str(t.type), t.shape, t.name) for t in model.signature.inputs] == [("float32", (1, 3, 64, 64), "images")]
    assert [(str(t.type), t.shape, t.name) for t in model.signature.outputs] == [("float32", (1, 6, 64), "output0")]
    assert (folder / "input_example.json").stat().st_size < 3 * 64 * 64 * 3


def test_the_same_file_again_is_the_same_version(uri: str, run_dir: Path, champion: Registered) -> None:
    again = register(run_dir, "pruned-int8_static", uri)

    assert (again.version, again.is_new) == (champion.version, False)
    assert len(client(uri).search_model_versions(f"name = '{champion.name}'")) == 1


def test_the_alias_moves_to_another_file_and_back(run_dir: Path, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    first = register(run_dir, None, uri)
    second = register(run_dir, "pruned-fp32", uri)
    assert int(version(uri, second).version) == second.version == 2

    register(run_dir, None, uri)
    assert int(version(uri, first).version) == 1


@pytest.mark.parametrize(
    "model",
    [{"weights": "/data/yolov8n-seg.pt", "architecture": None}, {"weights": None, "architecture": "yolov8n-seg.yaml"}],
)
def test_it_belongs_to_the_run_that_mlflow_knows_and_the_net_names_the_model(
    model: dict[str, str | None], tmp_path: Path
) -> None:
    uri, run_dir = f"sqlite:///{tmp_path / 'mlflow.db'}", write_run(tmp_path)
    told = report(run_dir)
    told["run"]["spec"]["model"] = model
    (run_dir / "report.json").write_text(json.dumps(told))
    run_id = replay(run_dir, uri, "secateur")

    found = register(run_dir, None, uri)

    assert found.name == "secateur-yolov8n-seg"
    assert version(uri, found).run_id == run_id


def test_registering_needs_no_torch_and_leaves_nothing_where_it_is_done(run_dir: Path, tmp_path: Path) -> None:
    uri, place = f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "place"
    place.mkdir()

    done = subprocess.run(
        [sys.executable, "-c", REGISTER, run_dir, uri], cwd=place, capture_output=True, text=True, check=False
    )

    assert done.stdout == "False\n", done.stderr
    assert list(place.iterdir()) == []  # where MLflow looks when it is told of no other database


Change = Callable[[dict[str, Any], Path], None]


def _not_finished(told: dict[str, Any], run_dir: Path) -> None:
    told["run"]["status"] = "killed"


def _nothing_selected(told: dict[str, Any], run_dir: Path) -> None:
    told["selected"], told["why"] = None, "all lose too much"


def _at_fault(told: dict[str, Any], run_dir: Path) -> None:
    for candidate in told["candidates"]:
        candidate["fault"] = "output0 is not finite"


def _of_another_kind(told: dict[str, Any], run_dir: Path) -> None:
    for candidate in told["candidates"]:
        candidate["file"] = "models/pruned_ncnn_model"


def _gone(told: dict[str, Any], run_dir: Path) -> None:
    (run_dir / "models" / "pruned-int8_static.onnx").unlink()


def _changed(told: dict[str, Any], run_dir: Path) -> None:
    with (run_dir / "models" / "pruned-int8_static.onnx").open("ab") as file:
        file.write(b"x")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (_not_finished, "is killed"),
        (_nothing_selected, "selected nothing: all lose too much"),
        (_at_fault, "is of no use: output0 is not finite"),
        (_of_another_kind, "is no ONNX file"),
        (_gone, "no file .*pruned-int8_static.onnx"),
        (_changed, "is not what was measured"),
    ],
)
def test_what_cannot_be_registered_is_told_in_one_line(change: Change, fault: str, uri: str, tmp_path: Path) -> None:
    run_dir = write_run(tmp_path)
    told = report(run_dir)
    change(told, run_dir)
    (run_dir / "report.json").write_text(json.dumps(told))

    with pytest.raises(TrackingError, match=fault) as raised:
        register(run_dir, None, uri)
    assert "\n" not in str(raised.value)


def test_a_candidate_that_there_is_not_is_told_with_those_that_there_are(run_dir: Path, uri: str) -> None:
    with pytest.raises(TrackingError, match="no candidate 'x'; there are baseline-fp32, "):
        register(run_dir, "x", uri)


def test_compare_registers_what_its_budget_offers(run_dir: Path, tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    asked = ["compare", str(run_dir), "--budget", "latency_ms_p50<=1000", "--register", "--uri", uri]
    monkeypatch.setattr(sys, "argv", ["secateur", *asked])

    with pytest.raises(SystemExit) as ended:
        cli.main()

    assert not ended.value.code
    said = capsys.readouterr().err
    name = said.split()[1]
    (version,) = client(uri).search_model_versions(f"name='{name}'")
    assert said == f"Registered {name} version {version.version}, champion\n"
    assert client(uri).get_model_version_by_alias(name, "champion").version == version.version
