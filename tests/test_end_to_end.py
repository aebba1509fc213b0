"""Whole runs through the command line, each a process of its own: tiny pictures, one epoch, two rungs."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.example_commands import BRIEF, FEW

pytestmark = pytest.mark.slow

SECATEUR = Path(sys.executable).with_name("secateur")
TINY = [
    *"+study=quickstart dataset.size=64 dataset.train=32 dataset.val=16".split(),
    *"model.training.epochs=1 finetune.epochs=1".split(),
    *BRIEF,
]
INT8 = "quantization.images=4"
ONE_RUNG = "schedule=one_shot quantization=fp32".split()

PATIENCE_SECONDS = 900


@dataclass(frozen=True)
class Run:
    """A run's folder, and what the command said."""

    folder: Path
    said: str

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "records.jsonl").read_text().splitlines()]

    @property
    def report(self) -> dict[str, Any]:
        return json.loads((self.folder / "report.json").read_text())

    @property
    def reused(self) -> dict[tuple[str, str], bool]:
        """Of each stage and label, whether its result was in the store."""
        return {(record["stage"], record["label"]): record["reused"] for record in self.records}


@dataclass(frozen=True)
class Place:
    """Where commands run: a working folder, a home and a folder for temporary files that are nobody else's."""

    top: Path

    @property
    def outputs(self) -> Path:
        return self.top / "outputs"

    @property
    def latest(self) -> Path:
        return (self.outputs / "latest").resolve()

    def start(self, *arguments: str, command: str = "run") -> subprocess.Popen[str]:
        for name in ("work", "home", "temporary"):
            (self.top / name).mkdir(exist_ok=True)
        own = {"HOME": str(self.top / "home"), "TMPDIR": str(self.top / "temporary")}
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("YOLO", "ULTRALYTICS", "ORT", "XDG"))}
        return subprocess.Popen(
            [SECATEUR, command, *arguments, f"outputs={self.outputs}"], cwd=self.top / "work", env=inherited | own,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def say(self, *arguments: str, command: str = "run") -> str:
        process = self.start(*arguments, command=command)
        said, errors = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 0, errors
        return said

    def run(self, *arguments: str) -> Run:
        said = self.say(*arguments)
        return Run(self.latest, said)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("end_to_end"))


@pytest.fixture(scope="module")
def first(place: Place) -> Run:
    return place.run(*TINY, INT8)


@pytest.fixture(scope="module")
def second(place: Place, first: Run) -> Run:
    """The same again."""
    return place.run(*TINY, INT8)


# ---- a run and what it leaves --------------------------------------------------------------------


def looked_at(file: str) -> tuple[str, ...]:
    """The stages that look at a file by itself."""
    return ("verify", "evaluate", "depict", *(["locate"] if "int8" in file else []))


def test_every_stage_is_recorded_in_its_order(first: Run) -> None:
    rungs = [
        [
            ("prune", f"−{share}% macs", rung),
            ("evaluate", "pruned", rung),
            ("finetune", "fine-tuning", rung),
            ("evaluate", "tuned", rung),
            ("contrast", "fine-tuning", rung),
        ]
        for rung, share in ((1, 15), (2, 30))
    ]
    nets = ("baseline", "pruned")
    files = [f"{net}-{way}" for net in nets for way in ("fp32", "int8_static")]
    assert [(r["stage"], r["label"], r["rung"]) for r in first.records] == [
        ("prepare", "data", None),
        ("baseline", "baseline", None),
        ("evaluate", "baseline", None),
        *rungs[0],
        *rungs[1],
        *(("export", net, None) for net in nets),
        *(("quantize", file, None) for file in files),
        *((stage, file, None) for file in files for stage in looked_at(file)),
        ("contrast", "accuracies", None),
        ("benchmark", "onnxruntime", None),
    ]


def test_every_record_has_a_key_of_its_own_and_says_what_went_in_and_out(first: Run) -> None:
    records = first.records

    assert all(re.fullmatch("[0-9a-f]{64}", record["key"]) for record in records)
    assert len({record["key"] for record in records}) == len(records)
    assert all(record["inputs"] and record["outputs"] for record in records)
    assert not any(record["reused"] for record in records)
    assert all(before["finished"] <= after["finished"] for before, after in pairwise(records))


def test_the_report_keeps_its_contract(first: Run) -> None:
    report = first.report

    assert {"run", "baseline", "rungs", "candidates", "selected", "why"} <= report.keys()
    assert {"id", "name", "status", "seconds", "spec", "versions", "git"} <= report["run"].keys()
    assert (report["run"]["name"], report["run"]["status"]) == ("quickstart", "finished")
    for rung in report["rungs"]:
        assert {"rung", "target", "params", "macs", "pruned", "tuned", "accepted"} <= rung.keys()
        assert all({"box_map50_95", "mask_map50_95"} <= rung[when].keys() for when in ("pruned", "tuned"))
    for candidate in report["candidates"]:
        assert {"name", "runtime", "file", "sha256", "size_bytes", "box_map50_95", "mask_map50_95"} <= candidate.keys()
        assert {"p50", "p90", "p99"} <= candidate["latency_ms"].keys()
        assert {"median", "low", "high"} <= candidate["speedup"].keys()
    unpruned, *others = report["candidates"]
    for change in ("box_map50_95_change", "mask_map50_95_change"):
        assert unpruned[change] is None
        assert all(candidate[change].keys() == {"observed", "low", "high"} for candidate in others)


def test_a_change_of_accuracy_is_the_difference_to_the_unpruned_file(first: Run) -> None:
    unpruned, *others = first.report["candidates"]

    for name in ("box_map50_95", "mask_map50_95"):
        measured = [candidate[name] - unpruned[name] for candidate in others]
        assert [candidate[f"{name}_change"]["observed"] for candidate in others] == pytest.approx(measured, abs=1e-6)


def test_counts_are_integers_and_shares_are_fractions(first: Run) -> None:
    report = first.report

    for counted in (report["baseline"], *report["rungs"], *report["candidates"]):
        assert type(counted["params"]) is int
        assert type(counted["macs"]) is int
    assert all(type(candidate["size_bytes"]) is int for candidate in report["candidates"])
    assert all(0 <= candidate["mask_map50_95"] <= 1 for candidate in report["candidates"])


def test_rungs_are_as_small_as_they_were_asked_to_be(first: Run) -> None:
    report = first.report

    gone = [1 - rung["macs"] / report["baseline"]["macs"] for rung in report["rungs"]]
    assert [rung["target"] for rung in report["rungs"]] == [0.15, 0.3]
    assert gone == pytest.approx([0.15, 0.3], abs=0.01)
    assert all(rung["accepted"] for rung in report["rungs"])


def test_the_candidates_are_both_nets_in_both_ways_with_the_unpruned_fp32_first(first: Run) -> None:
    names = [candidate["name"] for candidate in first.report["candidates"]]

    assert names == ["baseline-fp32", "baseline-int8_static", "pruned-fp32", "pruned-int8_static"]
    assert first.report["selected"] in names
    assert first.report["candidates"][0]["speedup"] == {"median": 1.0, "low": 1.0, "high": 1.0}


def test_each_candidates_file_is_the_one_that_was_measured(first: Run) -> None:
    for candidate in first.report["candidates"]:
        content = (first.folder / candidate["file"]).read_bytes()

        assert candidate["file"] == f"models/{candidate['name']}.onnx"
        assert hashlib.sha256(content).hexdigest() == candidate["sha256"]
        assert len(content) == candidate["size_bytes"]


def test_the_models_are_the_candidates_and_the_checkpoints_they_were_made_of(first: Run) -> None:
    names = {candidate["name"] for candidate in first.report["candidates"]}

    assert {path.name for path in (first.folder / "models").iterdir()} == {
        *(f"{name}.onnx" for name in names),
        "baseline.pt",
        "pruned.pt",
    }
    assert first.report["checkpoints"] == {"baseline": "models/baseline.pt", "pruned": "models/pruned.pt"}


def test_the_page_shows_every_candidate(first: Run) -> None:
    page = (first.folder / "report.html").read_text()

    assert all(candidate["name"] in page for candidate in first.report["candidates"])


def test_the_composed_config_and_the_overrides_are_kept(first: Run) -> None:
    composed = yaml.safe_load((first.folder / "config" / "config.yaml").read_text())
    overrides = yaml.safe_load((first.folder / "config" / "overrides.yaml").read_text())

    assert composed["imgsz"] == 64
    assert composed["schedule"]["name"] == "linear"
    assert overrides[:-1] == [*TINY, INT8]


def test_the_folder_is_named_by_moment_and_name(first: Run, place: Place) -> None:
    assert first.folder.parent == place.outputs / "runs"
    assert re.fullmatch(r"[\d_-]{15,}_quickstart", first.folder.name)
    assert first.report["run"]["id"] == first.folder.name


def test_latest_points_to_the_newest_run(place: Place, second: Run) -> None:
    newest = max((place.outputs / "runs").iterdir(), key=lambda path: path.name)

    assert (place.outputs / "latest").is_symlink()
    assert second.folder == newest


def test_the_screen_tells_every_stage_the_table_and_where_the_files_are(first: Run) -> None:
    for record in first.records:
        assert re.search(rf"^✓ {record['stage']} +{re.escape(record['label'])} ", first.said, re.MULTILINE)
    assert first.said.count("pruned-int8_static") >= 3
    assert f"{first.folder.name}/report.html" in first.said
    assert "Traceback" not in first.said


def test_nothing_but_the_machines_locks_is_written_outside_of_outputs(place: Place, first: Run, second: Run) -> None:
    places = [place.top / name for name in ("work", "home", "temporary")]
    locks = place.top / "temporary" / f"secateur-{os.getuid()}"

    written = [path for folder in places for path in folder.rglob("*") if path.is_file()]
    assert {path for path in written if path.parent != locks} == set()


# ---- what MLflow holds ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tracked(place: Place) -> Callable[[Path], Any]:
    """(client, the run of a folder)."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{place.outputs / 'mlflow.db'}")

    def find(folder: Path) -> tuple[MlflowClient, Any]:
        experiment = client.get_experiment_by_name("secateur")
        (run,) = client.search_runs([experiment.experiment_id], f"tags.run_dir = '{folder}'")
        return client, run

    return find


def test_mlflow_holds_the_parameters_as_on_the_command_line(tracked: Callable[[Path], Any], first: Run) -> None:
    _, run = tracked(first.folder)

    assert run.info.status == "FINISHED"
    expected = {"dataset": "shapes", "importance": "magnitude", "schedule": "linear", "schedule.steps": "2"}
    expected |= dict(override.split("=") for override in (*TINY, INT8) if not override.startswith("+"))
    assert {name: run.data.params.get(name) for name in expected} == expected
    assert run.data.tags["study"] == "quickstart"


def test_mlflow_holds_each_rung_as_a_step(tracked: Callable[[Path], Any], first: Run) -> None:
    client, run = tracked(first.folder)

    report, history = first.report, client.get_metric_history(run.info.run_id, "rung/macs_g")
    counted = {0: report["baseline"], **{rung["rung"]: rung for rung in report["rungs"]}}
    assert {entry.step: entry.value for entry in history} == {step: net["macs"] / 1e9 for step, net in counted.items()}
    assert {"rung/params_m", "rung/box_map50_95", "rung/mask_map50_95"} <= run.data.metrics.keys()


def test_mlflow_holds_what_ships_as_final(tracked: Callable[[Path], Any], first: Run) -> None:
    _, run = tracked(first.folder)

    ships = next(c for c in first.report["candidates"] if c["name"] == first.report["selected"])
    expected = {
        "final/params_m": ships["params"] / 1e6,
        "final/macs_g": ships["macs"] / 1e9,
        "final/box_map50_95": ships["box_map50_95"],
        "final/mask_map50_95": ships["mask_map50_95"],
        "final/latency_ms_p50": ships["latency_ms"]["p50"],
        "final/latency_ms_p95": ships["latency_ms"]["p95"],
        "final/speedup": ships["speedup"]["median"],
        "final/size_mb": ships["size_bytes"] / 1e6,
    }
    assert {name: run.data.metrics.get(name) for name in expected} == expected


# ---- runs that follow others ---------------------------------------------------------------------


def test_the_same_run_again_takes_every_stage_from_the_store(first: Run, second: Run) -> None:
    assert second.folder != first.folder
    assert [record["key"] for record in second.records] == [record["key"] for record in first.records]
    assert all(record["reused"] for record in second.records)


def test_the_same_run_again_finds_the_same(first: Run, second: Run) -> None:
    found = ("baseline", "rungs", "candidates", "selected", "why", "dataset")

    assert {key: second.report[key] for key in found} == {key: first.report[key] for key in found}


def test_a_killed_run_goes_on_where_it_was(detect_checkpoint: Path, tmp_path: Path) -> None:
    own = [f"model.weights={detect_checkpoint}", "schedule.target=0.15", "finetune.epochs=6", "tracking=none"]
    command, place = [*BRIEF, *FEW, *ONE_RUNG, *own], Place(tmp_path)

    killed = kill_during_finetune(place.start(*command), place)
    continued = place.run(*command)

    done = {(record["stage"], record["label"]) for record in killed.records}
    assert not (killed.folder / "report.json").exists()
    assert ("evaluate", "pruned") in done
    assert ("finetune", "fine-tuning") not in done
    assert all(continued.reused[stage] for stage in done)
    assert not continued.reused["finetune", "fine-tuning"]
    assert continued.report["run"]["status"] == "finished"


def kill_during_finetune(process: subprocess.Popen[str], place: Place) -> Run:
    """Killed (SIGKILL) a moment after the stage before fine-tuning was recorded."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end and process.poll() is None:
        records = place.latest / "records.jsonl"
        if records.exists() and '"label":"pruned"' in records.read_text():
            break
        time.sleep(0.05)
    time.sleep(0.3)
    assert process.poll() is None, process.communicate()
    process.kill()
    process.communicate()
    return Run(place.latest, "")


def test_rungs_that_lose_more_than_allowed_are_refused_until_patience_ends_and_the_last_accepted_net_ships(
    place: Place, trained_checkpoint: Path, easy_shapes: Path
) -> None:
    own = [f"model.weights={trained_checkpoint}", "dataset=yolo_folder", f"dataset.root={easy_shapes.parent}"]
    steep = "schedule=ladder schedule.shares=[0.75,0.8] schedule.target=0.85 quantization=fp32".split()
    harsh = ["finetune=none", "max_map_drop=0.005", "patience=1", "tracking=none"]

    run = place.run(*BRIEF, *own, *steep, *harsh)

    assert [rung["target"] for rung in run.report["rungs"]] == [0.75, 0.8]  # the second miss in a row ends it
    assert [rung["accepted"] for rung in run.report["rungs"]] == [False, False]
    assert [candidate["name"] for candidate in run.report["candidates"]] == ["baseline-fp32"]
    assert run.report["selected"] == "baseline-fp32"
    assert run.report["why"].startswith("no rung kept within max_map_drop=0.005; the nearest, rung 1, loses ")
    assert "rung 1 loses more than max_map_drop" in run.said


@pytest.mark.parametrize(
    ("distillation", "stages"),
    [
        (["distillation=dense", "distillation.masks=2", "distillation.neck=0.5", "schedule.steps=2"], ["gather"]),
        (["distillation=other_teacher", "distillation.teacher={weights}", "schedule.steps=1"], ["gather"]),
        (["distillation=none", "schedule.steps=1"], ["gather", "annotate"]),
    ],
    ids=["dense", "other_teacher", "labelled"],
)
def test_pictures_without_labels_are_learnt_from(
    distillation: list[str],
    stages: list[str],
    place: Place,
    trained_checkpoint: Path,
    easy_shapes: Path,
    tmp_path: Path,
) -> None:
    for path in sorted((easy_shapes.parent / "images" / "train").iterdir())[:8]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    own = [f"model.weights={trained_checkpoint}", "dataset=yolo_folder", f"dataset.root={easy_shapes.parent}"]
    lesson = [override.format(weights=trained_checkpoint) for override in distillation]
    more = [f"dataset.unlabelled={tmp_path}", "distillation.confidence=0.1", "quantization=fp32", *lesson]

    run = place.run(*BRIEF, *own, *more, "finetune=gentle", "finetune.epochs=1", "tracking=none")

    assert [record["stage"] for record in run.records if record["stage"] in ("gather", "annotate")] == stages
    trained = next(record["outputs"] for record in run.records if record["label"] == "tuned")
    assert trained["accuracy"] != run.report["rungs"][0]["pruned"]


def test_a_training_that_makes_the_net_worse_is_undone_and_told(
    place: Place, trained_checkpoint: Path, easy_shapes: Path
) -> None:
    own = [f"model.weights={trained_checkpoint}", "dataset=yolo_folder", f"dataset.root={easy_shapes.parent}"]
    harmful = ["healing=batchnorm", "finetune.epochs=1", "finetune.lr0=0.1", "finetune.warmup_epochs=0"]

    run = place.run(*BRIEF, *ONE_RUNG, *own, *harmful, "schedule.target=0.1", "tracking=none")

    (rung,) = run.report["rungs"]
    healed, exported = (
        next(record for record in run.records if (record["stage"], record["label"]) == made)
        for made in (("heal", "without training"), ("export", "pruned"))
    )
    assert rung["undone"]["mask_map50_95"] < rung["tuned"]["mask_map50_95"]
    assert rung["tuned"] == rung["pruned"]
    assert exported["inputs"]["weights"] == healed["outputs"]["weights"]
    assert "rung 1: fine-tuning came to box " in run.said


def test_sparse_training_and_other_activations_stand_before_the_first_rung_healed_and_scored(
    detect_checkpoint: Path, tmp_path: Path
) -> None:
    own = [f"model.weights={detect_checkpoint}", "schedule.target=0.15", "healing=batchnorm", "tracking=none"]
    few = ["activation=relu", "sparsity=group_norm", "sparsity.training.epochs=1", "finetune=none"]

    run = Place(tmp_path).run(*BRIEF, *FEW, *ONE_RUNG, *own, *few)

    assert [(r["stage"], r["label"], r["rung"]) for r in run.records][2:11] == [
        ("evaluate", "baseline", None),
        ("sparsify", "sparse", None),
        ("evaluate", "sparse", None),
        ("swap", "relu", None),
        ("heal", "without training", None),
        ("evaluate", "swapped", None),
        ("prune", "−15% macs", 1),
        ("heal", "without training", 1),
        ("evaluate", "pruned", 1),
    ]
    unpruned, sparse, swap, mended, prune, heal = (run.records[at] for at in (1, 3, 5, 6, 8, 9))
    assert sparse["inputs"]["weights"] == unpruned["outputs"]["weights"]
    assert swap["inputs"]["weights"] == mended["inputs"]["before"] == sparse["outputs"]["weights"]
    assert mended["inputs"]["weights"] == swap["outputs"]["weights"]
    assert prune["inputs"]["weights"] == heal["inputs"]["before"] == mended["outputs"]["weights"]
    assert prune["inputs"]["baseline"] == unpruned["outputs"]["weights"]
    assert [candidate["name"] for candidate in run.report["candidates"]] == ["baseline-fp32", "pruned-fp32"]
    assert list(run.report["before_pruning"]) == ["sparse", "swapped"]
    assert run.report["rungs"][0]["macs"] < run.report["baseline"]["macs"]
    assert "weakest quarter of channels" in run.said


@pytest.mark.skipif(not find_spec("nncf"), reason="needs NNCF: pip install 'secateur[nncf]'")
def test_what_nncf_makes_is_scored_and_timed_and_nncf_itself_is_not_heard(seg_checkpoint: Path, tmp_path: Path) -> None:
    own = [f"model.weights={seg_checkpoint}", "schedule.target=0.15", "finetune=none", "tracking=none"]

    run = Place(tmp_path).run(*BRIEF, *FEW, *ONE_RUNG, *own, "quantization=nncf", INT8)

    names = [candidate["name"] for candidate in run.report["candidates"]]
    assert names == ["baseline-fp32", "baseline-nncf", "pruned-fp32", "pruned-nncf"]
    assert run.report["run"]["versions"]["nncf"] == version("nncf")
    assert "bias correction" not in run.said.lower()
    assert not (tmp_path / "home" / "intel").exists()


@pytest.mark.skipif(not find_spec("modelopt"), reason="needs ModelOpt: pip install 'secateur[qat]'")
def test_each_net_is_trained_rounded_before_it_is_exported_for_int8(seg_checkpoint: Path, tmp_path: Path) -> None:
    own = [f"model.weights={seg_checkpoint}", "schedule.target=0.15", "finetune=none", "tracking=none"]
    few = ["quantization=int8_qat", "quantization.training.epochs=1", INT8]

    run = Place(tmp_path).run(*BRIEF, *FEW, *ONE_RUNG, *own, *few)

    done = [(record["stage"], record["label"]) for record in run.records]
    assert done[-11:-2] == [
        ("export", "pruned"),
        ("quantize", "pruned-fp32"),
        ("verify", "pruned-fp32"),
        ("evaluate", "pruned-fp32"),
        ("quantize_aware", "pruned-int8_qat"),
        ("export", "pruned-int8_qat"),
        ("quantize", "pruned-int8_qat"),
        ("verify", "pruned-int8_qat"),
        ("evaluate", "pruned-int8_qat"),
    ]
    exported = [record["outputs"]["model"] for record in run.records if record["stage"] == "export"]
    assert len(set(exported)) == 4
    assert "quantizers" not in run.said


def test_a_net_is_quantized_scored_and_timed_as_it_is(
    place: Place, trained_checkpoint: Path, easy_shapes: Path
) -> None:
    own = [f"model.weights={trained_checkpoint}", "dataset=yolo_folder", f"dataset.root={easy_shapes.parent}"]
    gate = ["quantization=int8_accuracy", "quantization.judged_images=8", "quantization.max_drop=0.5", INT8]

    run = place.run(*BRIEF, *own, *gate, "schedule=none", "max_map_drop=0.5", "tracking=none")

    names = [candidate["name"] for candidate in run.report["candidates"]]
    assert names == ["baseline-fp32", "baseline-int8_accuracy"]
    assert run.report["rungs"] == []
    assert "Nothing is pruned" in run.said
    assert "Nothing is pruned" in (run.folder / "report.html").read_text()
    assert {record["stage"] for record in run.records} == {
        "prepare", "baseline", "evaluate", "export", "quantize", "verify", "depict", "locate", "contrast",
        "benchmark",
    }  # fmt: skip


def test_a_latency_budget_is_met_by_the_clock(place: Place, detect_checkpoint: Path) -> None:
    own = [f"model.weights={detect_checkpoint}", "imgsz=160", "schedule.unit=latency", "schedule.target=0.4"]
    own += ["scope.round_to=32"]  # few portions, so few trials
    run = place.run(*BRIEF, *FEW, "dataset.train=12", *ONE_RUNG, *own, "finetune=none", "tracking=none")

    (rung,) = run.report["rungs"]
    assert 0.1 < rung["reached"] < 0.7  # the clock is coarse on a machine that is shared, and portions are large
    assert rung["trials"]
    assert "nets were timed on the way" in run.said


def test_sensitivity_is_told_as_a_table_and_a_page_and_kept_in_the_store(
    place: Place, trained_checkpoint: Path, easy_shapes: Path
) -> None:
    own = [f"model.weights={trained_checkpoint}", "dataset=yolo_folder", f"dataset.root={easy_shapes.parent}"]
    few = ["sensitivity.ratios=[0.5]", "sensitivity.images=8", "imgsz=64"]
    few += ['scope.keep=["model.[2-9]*","model.1[0-9]*"]']  # quoted: a bracket is Hydra's

    said = place.say(*own, *few, command="sensitivity")
    again = place.say(*own, *few, command="sensitivity")

    folder = next(place.outputs.glob("sensitivity/*"))
    assert (folder / "sensitivity.csv").read_text().startswith("group,0.5\nmodel.0.conv,")
    assert "model.1.conv" in (folder / "sensitivity.html").read_text()
    assert "sensitivity.html" in said
    assert "↺ sensitivity" in again


def test_a_pruned_checkpoint_is_pruned_and_tuned_further(place: Place, first: Run) -> None:
    own = ["model=yolov8n_seg", f"model.weights={first.folder / 'models' / 'pruned.pt'}", "tracking=none"]

    tiny = [word for word in TINY if not word.startswith("model.training")]
    run = place.run(*tiny, *own, *ONE_RUNG, "schedule.target=0.2")

    (rung,), last = run.report["rungs"], first.report["rungs"][-1]
    assert run.report["baseline"]["macs"] == last["macs"]
    assert rung["macs"] == pytest.approx(0.8 * last["macs"], rel=0.02)
    assert run.reused["finetune", "fine-tuning"] is False


@pytest.fixture(scope="module")
def sweep(place: Place, detect_checkpoint: Path) -> list[Run]:
    """Its jobs, the second of which wants to prune more; no other run has this net, a detector."""
    own = [f"model.weights={detect_checkpoint}", "schedule.target=0.1,0.2", "finetune=none"]
    place.run("-m", *BRIEF, *FEW, *ONE_RUNG, *own)
    return [Run(folder, "") for folder in sorted(place.outputs.glob("sweeps/*/[0-9]"))]


def test_the_jobs_of_a_sweep_lie_side_by_side(place: Place, sweep: list[Run]) -> None:
    assert [job.folder.name for job in sweep] == ["0", "1"]
    assert len({job.folder.parent for job in sweep}) == 1
    assert [job.report["rungs"][0]["target"] for job in sweep] == [0.1, 0.2]
    assert [job.report["run"]["id"] for job in sweep] == [
        f"{job.folder.parent.name}/{job.folder.name}" for job in sweep
    ]


def test_the_jobs_of_a_sweep_share_what_they_begin_with(sweep: list[Run]) -> None:
    shared = [("prepare", "data"), ("baseline", "baseline"), ("evaluate", "baseline"), ("export", "baseline")]

    assert [[job.reused[stage] for stage in shared] for job in sweep] == [[False] * 4, [True] * 4]
    assert not sweep[1].reused["prune", "−20% macs"]


def test_mlflow_holds_one_run_a_job_tagged_with_the_sweep(tracked: Callable[[Path], Any], sweep: list[Run]) -> None:
    runs = [tracked(job.folder)[1] for job in sweep]

    assert [run.data.tags["sweep"] for run in runs] == [sweep[0].folder.parent.name] * 2
    assert [run.data.params["schedule.target"] for run in runs] == ["0.1", "0.2"]


def test_a_run_that_cannot_be_done_says_so_everywhere(place: Place, first: Run, tracked: Callable[[Path], Any]) -> None:
    process = place.start(*TINY, *ONE_RUNG, "schedule.target=0.99")
    _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    failed = Run(place.latest, "")

    error = failed.report["run"]["error"]
    assert process.returncode == 2
    assert error.startswith("0.99 of the macs is out of reach: at most 0.")
    assert errors == f"secateur: {error}\n"
    assert failed.report["run"]["status"] == "failed"
    _, run = tracked(failed.folder)
    assert run.info.status == "FAILED"
    assert run.data.tags["error"] == error
