import itertools
import json
import logging
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from secateur.adapters.tracking import replay, replay_device
from secateur.errors import ExportError, TrackingError
from secateur.manifest import Check, DeviceReport, OnDevice
from tests.example_report import accuracy, detector, failed, finished, on_the_way
from tests.example_run import ID, device_report
from tests.example_tracking import (
    client,
    everything,
    history,
    log_live,
    lost,
    open_sink,
    parents,
    records,
    start_cold,
    write_folder,
)


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('tracking') / 'outputs' / 'mlflow.db'}"


@pytest.fixture(scope="module")
def live(uri: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    run_dir = tmp_path_factory.mktemp("live") / "demo"
    write_folder(run_dir, finished())
    return run_dir, log_live(uri, run_dir, finished())


@pytest.fixture(autouse=True)
def nothing_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / "mlruns").exists()


def test_rungs_are_logged_once_each_with_the_baseline_as_step_0(uri: str, live: tuple[Path, str]) -> None:
    _, run_id = live

    assert history(uri, run_id, "rung/mask_map50_95") == [(0, 0.351), (1, 0.340), (2, 0.325), (3, 0.25)]
    assert history(uri, run_id, "rung/pruned_mask_map50_95") == [(0, 0.351), (1, 0.240), (2, 0.150), (3, 0.05)]
    assert history(uri, run_id, "rung/macs_g") == [(0, 6.36), (1, 4.77), (2, 3.18), (3, 2.544)]


def test_what_a_training_scored_that_was_undone_is_logged_beside_what_the_rung_kept(uri: str, tmp_path: Path) -> None:
    first, *others = finished().rungs
    report = replace(finished(), id="undone", rungs=(replace(first, undone=accuracy(0.290, 0.230)), *others))
    write_folder(tmp_path / "undone", report)
    run_id = log_live(uri, tmp_path / "undone", report)

    assert history(uri, run_id, "rung/undone_mask_map50_95") == [(1, 0.230)]
    assert history(uri, run_id, "rung/mask_map50_95")[1] == (1, 0.340)


def test_the_curve_of_each_training_is_logged_epoch_by_epoch(uri: str, live: tuple[Path, str]) -> None:
    _, run_id = live

    assert history(uri, run_id, "train/baseline/boxes_loss") == [(1, 0.9), (2, 0.7)]
    assert history(uri, run_id, "train/rung_1/boxes_loss") == [(1, 0.4)]
    assert history(uri, run_id, "train/rung_1/learning_rate") == [(1, 0.01)]


def test_final_metrics_are_the_selected_candidates(uri: str, live: tuple[Path, str]) -> None:
    metrics = client(uri).get_run(live[1]).data.metrics

    final = {name.removeprefix("final/"): value for name, value in metrics.items() if name.startswith("final/")}
    assert final == {
        "params_m": 1.705,
        "macs_g": 3.18,
        "box_map50_95": 0.371,
        "mask_map50_95": 0.318,
        "box_map50_95_change": -0.043,
        "box_map50_95_change_low": -0.052,
        "box_map50_95_change_high": -0.034,
        "mask_map50_95_change": -0.033,
        "mask_map50_95_change_low": -0.041,
        "mask_map50_95_change_high": -0.025,
        "latency_ms_p50": 21.6,
        "latency_ms_p95": pytest.approx(25.92),
        "end_to_end_ms_p50": 26.5,
        "images_per_second": pytest.approx(1000 / 21.6),
        "load_seconds": 0.2,
        "peak_memory_mb": 120.0,
        "speedup": 2.73,
        "speedup_low": 2.65,
        "speedup_high": 2.8,
        "size_mb": 1.9,
    }
    assert metrics["candidate/pruned-fp32/speedup"] == 1.54
    assert metrics["candidate/pruned-fp32/mask_map50_95_change_low"] == -0.034
    assert "candidate/baseline-fp32/mask_map50_95_change" not in metrics


def test_what_the_net_scored_before_the_first_rung_is_logged(uri: str, tmp_path: Path) -> None:
    write_folder(tmp_path / "way", on_the_way())

    metrics = client(uri).get_run(log_live(uri, tmp_path / "way", on_the_way())).data.metrics

    assert (metrics["sparse/box_map50_95"], metrics["sparse/mask_map50_95"]) == (0.41, 0.35)
    assert (metrics["swapped/box_map50_95"], metrics["swapped/mask_map50_95"]) == (0.3, 0.22)


def test_stages_tell_their_seconds(uri: str, live: tuple[Path, str]) -> None:
    assert history(uri, live[1], "stage/finetune_seconds") == [(1, 50.0), (2, 60.5)]
    assert history(uri, live[1], "stage/baseline_seconds") == [(0, 10.0)]


def test_params_and_tags_are_named_as_on_the_command_line(uri: str, live: tuple[Path, str]) -> None:
    run = client(uri).get_run(live[1])

    assert run.data.params["importance"] == "magnitude"
    assert run.data.params["schedule.target"] == "0.6"
    assert run.data.params["finetune.cos_lr"] == "true"
    assert run.data.tags["versions.torch"] == "2.13.0"
    assert "torch" not in run.data.tags
    assert run.info.run_name == "demo"
    assert run.info.status == "FINISHED"


def test_the_files_lie_beside_the_database(uri: str, live: tuple[Path, str]) -> None:
    artifacts = client(uri).get_run(live[1]).info.artifact_uri

    folder = Path(artifacts.removeprefix("file://"))
    assert folder.is_relative_to(Path(uri.removeprefix("sqlite:///")).parent)
    assert {path.name for path in folder.iterdir()} == {"report.json", "report.html", "records.jsonl"}


def test_the_data_set_is_an_input_of_the_run_a_split_each(uri: str, live: tuple[Path, str]) -> None:
    inputs = client(uri).get_run(live[1]).inputs.dataset_inputs

    told = {entry.tags[0].value: entry.dataset for entry in inputs}
    assert {context: data.name for context, data in told.items()} == {
        "training": "coco-subset/train", "validation": "coco-subset/val",
    }  # fmt: skip
    assert json.loads(told["validation"].profile) == {"num_rows": 202, "sha256": "cd" * 32}
    assert {data.digest for data in told.values()} == {"cd" * 8}


def test_the_runs_data_set_is_told_as_real_runs_know_it(uri: str, tmp_path: Path) -> None:
    known = {"data": "ef" * 32, "names": ["cat"], "train_images": 30, "val_images": 10}
    spec = {**finished().spec, "dataset": {"name": "yolo_folder", "root": "/data/cats"}}
    write_folder(tmp_path / "demo", replace(finished(), dataset=known, spec=spec))

    inputs = client(uri).get_run(replay(tmp_path / "demo", uri, "trials")).inputs.dataset_inputs

    train = next(entry.dataset for entry in inputs if entry.tags[0].value == "training")
    assert (train.name, train.source) == ("yolo_folder/train", '{"uri": "/data/cats"}')
    assert json.loads(train.profile)["num_rows"] == 30


def test_a_data_set_that_another_job_adds_at_the_same_moment_is_found_the_second_time(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    add, refusals = MlflowClient.log_inputs, iter([True, False, False])

    def refused_once(self: Any, *values: Any) -> None:
        if next(refusals):
            raise MlflowException('(UniqueViolation) duplicate key value violates unique constraint "dataset_pk"')
        add(self, *values)

    monkeypatch.setattr(MlflowClient, "log_inputs", refused_once)
    write_folder(tmp_path / "demo", finished())

    run = client(uri).get_run(replay(tmp_path / "demo", uri, "trials"))

    assert len(run.inputs.dataset_inputs) == 2


def models_of(uri: str, run_id: str) -> list[Any]:
    experiment = client(uri).get_experiment_by_name("trials").experiment_id
    return list(client(uri).search_logged_models([experiment], f"source_run_id = '{run_id}'"))


def test_what_would_ship_is_a_model_of_the_run_with_its_facts_and_figures(uri: str, live: tuple[Path, str]) -> None:
    (model,) = models_of(uri, live[1])

    assert model.name == "pruned-int8_static"
    assert model.params["sha256"] == "ab" * 32
    assert model.params["quantization"] == "int8_static"
    assert {metric.key: metric.value for metric in model.metrics}["final/speedup"] == 2.73
    assert [found.model_id for found in client(uri).get_run(live[1]).outputs.model_outputs] == [model.model_id]


def test_a_model_goes_to_the_bin_with_its_run(uri: str, tmp_path: Path) -> None:
    write_folder(tmp_path / "demo", finished())
    before = replay(tmp_path / "demo", uri, "trials")
    after = replay(tmp_path / "demo", uri, "trials")

    assert (len(models_of(uri, before)), len(models_of(uri, after))) == (0, 1)


def test_a_live_run_tells_what_the_machine_did_without_a_thread(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secateur.adapters.tracking.usage.EVERY", 0.0)
    threads = set(threading.enumerate())

    run_id = log_live(uri, tmp_path, finished())

    looks = history(uri, run_id, "system/cpu_utilization_percentage")
    assert [step for step, _ in looks] == [0, 1, 2, 3, 4]  # two epochs, three stages
    assert all(0 <= value <= 100 for _, value in looks)
    used = client(uri).get_run(run_id).data.metrics["system/system_memory_usage_megabytes"]
    assert 0 < used < psutil.virtual_memory().total / 1e6
    assert set(threading.enumerate()) <= threads


def test_a_run_of_seconds_tells_nothing_of_the_machine(uri: str, live: tuple[Path, str]) -> None:
    assert not [name for name in client(uri).get_run(live[1]).data.metrics if name.startswith("system/")]


def test_replay_logs_the_same_as_the_live_sink_and_takes_its_place(uri: str, tmp_path: Path) -> None:
    run_dir = tmp_path / "demo"
    write_folder(run_dir, finished())
    before = log_live(uri, run_dir, finished())

    after = replay(run_dir, uri, "trials")

    assert everything(uri, after) == everything(uri, before)
    assert client(uri).get_run(before).info.lifecycle_stage == "deleted"


@pytest.mark.parametrize("word", ["+study=int8/ablation", "++study=int8/ablation", "study=int8/ablation"])
def test_a_replayed_run_keeps_the_study_and_the_sweep_that_it_was_of(word: str, uri: str, tmp_path: Path) -> None:
    report = replace(finished(), id="night/3", command=f"secateur run {word} schedule.target=0.6")
    write_folder(tmp_path / "3", report)
    before = log_live(uri, tmp_path / "3", report)

    after = replay(tmp_path / "3", uri, "trials")

    assert everything(uri, after) == everything(uri, before)
    tags = client(uri).get_run(after).data.tags
    assert (tags["study"], tags["sweep"]) == ("int8/ablation", "night")


@pytest.mark.parametrize("name", ["é", "it's", 'a "b"', 'it\'s "b"', "50 %", "a\\b"])
def test_a_folder_of_any_name_is_found_again(name: str, uri: str, tmp_path: Path) -> None:
    run_dir, alike = tmp_path / name / "demo", tmp_path / ("_" * len(name)) / "demo"
    write_folder(run_dir, finished())
    write_folder(alike, finished())
    before = replay(run_dir, uri, "trials")
    other = replay(alike, uri, "trials")

    replay(run_dir, uri, "trials")

    assert client(uri).get_run(before).info.lifecycle_stage == "deleted"
    assert client(uri).get_run(other).info.lifecycle_stage == "active"


def test_a_report_from_before_changes_of_accuracy_can_be_replayed(uri: str, tmp_path: Path) -> None:
    write_folder(tmp_path / "demo", finished())
    told = json.loads((tmp_path / "demo" / "report.json").read_text())
    for entry in told["candidates"]:
        del entry["box_map50_95_change"], entry["mask_map50_95_change"]
    (tmp_path / "demo" / "report.json").write_text(json.dumps(told))

    metrics = client(uri).get_run(replay(tmp_path / "demo", uri, "trials")).data.metrics
    assert metrics["final/mask_map50_95"] == 0.318
    assert not [name for name in metrics if "change" in name]


def test_replay_keeps_the_times_of_the_records(uri: str, tmp_path: Path) -> None:
    write_folder(tmp_path / "demo", finished())

    info = client(uri).get_run(replay(tmp_path / "demo", uri, "trials")).info

    assert (info.start_time, info.end_time) == (1795363200_000, 1795363954_000)  # 16:00:00 and 16:12:34 UTC, by `date`


def test_replay_of_no_run_is_told_in_one_line(uri: str, tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match=r"holds no finished run to replay: .*report\.json"):
        replay(tmp_path, uri, "trials")


def test_a_failed_run_ends_as_failed_with_its_error(uri: str, tmp_path: Path) -> None:
    run = client(uri).get_run(log_live(uri, tmp_path, failed()))

    assert run.info.status == "FAILED"
    assert run.data.tags["error"] == "finetune: no space left on device"
    assert "rung/macs_g" in run.data.metrics


def test_a_run_that_was_stopped_early_ends_as_killed_with_the_reason(uri: str, tmp_path: Path) -> None:
    stopped = replace(failed(), status="stopped", error="stopped early: trial 3 was ahead")
    run = client(uri).get_run(log_live(uri, tmp_path, stopped))

    assert run.info.status == "KILLED"
    assert run.data.tags["error"] == "stopped early: trial 3 was ahead"


def test_a_detector_has_no_mask_metrics(uri: str, tmp_path: Path) -> None:
    metrics = client(uri).get_run(log_live(uri, tmp_path, detector())).data.metrics

    assert metrics["final/box_map50_95"] == 0.371
    assert not [name for name in metrics if "mask" in name]


def test_a_run_outlives_the_loss_of_its_tracking(uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sink = open_sink(uri, tmp_path, finished())
    client(uri).delete_run(sink.run_id)

    with caplog.at_level(logging.WARNING, logger="secateur"):
        for rung in finished().rungs:
            sink.rung_finished(rung)
        sink.run_finished(finished())  # the folder is empty: nothing can be brought in from it

    first, last = caplog.messages
    assert "did not take a result" in first
    assert f"its records hold it: secateur replay {tmp_path} --uri {uri} --experiment trials" in last
    assert "\n" not in first + last


def test_what_mlflow_did_not_take_is_brought_in_when_the_run_ends(
    uri: str, live: tuple[Path, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_folder(tmp_path / "demo", finished())
    sink = open_sink(uri, tmp_path / "demo", finished())
    client(uri).delete_run(sink.run_id)

    with caplog.at_level(logging.WARNING, logger="secateur"):
        for record in records():
            sink.stage_finished(record)
        sink.run_finished(finished())

    assert len(caplog.messages) == 1
    assert everything(uri, sink.run_id)["metrics"] == everything(uri, live[1])["metrics"]
    assert client(uri).get_run(sink.run_id).info.status == "FINISHED"


def test_a_run_in_the_folder_of_one_that_was_killed_takes_its_place(uri: str, tmp_path: Path) -> None:
    write_folder(tmp_path / "demo", finished())
    broken_off = open_sink(uri, tmp_path / "demo", finished()).run_id

    again = log_live(uri, tmp_path / "demo", finished())

    assert client(uri).get_run(broken_off).info.lifecycle_stage == "deleted"
    assert client(uri).get_run(again).info.status == "FINISHED"


@pytest.mark.parametrize("status", ["finished", "failed", "killed"])
def test_mlflow_knows_how_a_run_ended(status: str, uri: str, tmp_path: Path) -> None:
    report = replace(finished(), status=status)
    write_folder(tmp_path / "demo", report)

    live = log_live(uri, tmp_path / "demo", report)
    assert client(uri).get_run(live).info.status == status.upper()
    replayed = replay(tmp_path / "demo", uri, "trials")
    assert client(uri).get_run(replayed).info.status == status.upper()


def test_a_run_that_failed_in_its_first_stage_can_be_replayed(uri: str, tmp_path: Path) -> None:
    write_folder(tmp_path / "demo", failed())
    (tmp_path / "demo" / "records.jsonl").unlink()

    run = client(uri).get_run(replay(tmp_path / "demo", uri, "trials"))

    assert run.info.status == "FAILED"


def test_a_run_whose_last_record_a_kill_cut_short_can_be_replayed(uri: str, tmp_path: Path) -> None:
    write_folder(tmp_path / "demo", failed())
    with (tmp_path / "demo" / "records.jsonl").open("r+b") as file:
        file.truncate(file.seek(0, 2) - 10)

    run_id = replay(tmp_path / "demo", uri, "trials")

    assert history(uri, run_id, "stage/finetune_seconds") == [(1, 50.0)]


def test_what_cannot_be_replayed_whole_leaves_what_mlflow_had(uri: str, tmp_path: Path) -> None:
    write_folder(tmp_path / "demo", finished())
    before = log_live(uri, tmp_path / "demo", finished())
    told = json.loads((tmp_path / "demo" / "report.json").read_text())
    told["candidates"][0]["name"] = "no/../name of a metric"
    (tmp_path / "demo" / "report.json").write_text(json.dumps(told))

    with pytest.raises(TrackingError, match="cannot be used"):
        replay(tmp_path / "demo", uri, "trials")

    assert runs_of(uri, tmp_path / "demo") == [before]


def runs_of(uri: str, run_dir: Path) -> list[str]:
    experiment = client(uri).get_experiment_by_name("trials").experiment_id
    runs = client(uri).search_runs([experiment], f"tags.run_dir = '{run_dir}'")
    return [run.info.run_id for run in runs]


@pytest.fixture
def clock_that_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute, whenever it is looked at."""
    seconds = itertools.count(1795363200, -60)
    monkeypatch.setattr("secateur.adapters.tracking.run.time.time", lambda: float(next(seconds)))


@pytest.mark.usefixtures("clock_that_goes_back")
def test_a_clock_that_is_set_back_turns_no_curve_around(uri: str, tmp_path: Path) -> None:
    write_folder(tmp_path / "demo", finished(), epochs=5)

    run_id = log_live(uri, tmp_path / "demo", finished(), epochs=5)

    assert told_in_order(uri, run_id, "train/baseline/boxes_loss")
    assert told_in_order(uri, run_id, "rung/macs_g")


def test_records_of_a_clock_that_was_set_back_can_be_replayed(uri: str, tmp_path: Path) -> None:
    write_folder(tmp_path / "demo", finished())
    lines = (tmp_path / "demo" / "records.jsonl").read_text().splitlines()
    last = json.loads(lines[-1]) | {"finished": "2026-11-22T12:00:00+00:00"}
    (tmp_path / "demo" / "records.jsonl").write_text("\n".join([*lines[:-1], json.dumps(last)]))

    run_id = replay(tmp_path / "demo", uri, "trials")

    assert told_in_order(uri, run_id, "stage/finetune_seconds")
    assert history(uri, run_id, "stage/finetune_seconds") == [(1, 50.0), (2, 60.5)]


def told_in_order(uri: str, run_id: str, metric: str) -> bool:
    """Later steps at later moments, all while the run went on; MLflow takes the last step's value for the newest."""
    run = client(uri).get_run(run_id)
    points = sorted(client(uri).get_metric_history(run_id, metric), key=lambda point: point.step)
    moments = [run.info.start_time, *(point.timestamp for point in points), run.info.end_time]
    return moments == sorted(moments) and run.data.metrics[metric] == points[-1].value


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg2", "mysql+pymysql"])
def test_a_database_that_takes_a_server_is_refused(scheme: str, tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match=rf"^tracking.uri {re.escape(scheme)}://host/runs is a database.*server"):
        open_sink(f"{scheme}://ann:secret@host/runs", tmp_path, finished())


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "sqlite:///file/mlflow.db", "sqlite:///file", "foo://bar"])
def test_an_unreachable_server_is_told_in_one_line(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    (tmp_path / "file").write_text("no database")

    with pytest.raises(TrackingError, match=r"^MLflow at \S+ cannot be used: [^\n]+$"):
        open_sink(uri, tmp_path, finished())


def test_a_run_id_in_the_environment_does_no_harm(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, live: tuple[Path, str]
) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", live[1])

    run_id = log_live(uri, tmp_path, finished())

    assert run_id != live[1]
    assert history(uri, run_id, "final/speedup") == [(0, 2.73)]
    assert history(uri, live[1], "final/speedup") == [(0, 2.73)]


@pytest.mark.slow
def test_processes_that_start_cold_at_once_lose_nothing(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"

    said = start_cold(uri, tmp_path, jobs=16)

    assert said == ""
    assert lost(uri, [tmp_path / str(job) for job in range(16)]) == 0
    assert [run.info.status for run in parents(uri)] == ["FINISHED", "FINISHED"]  # live, and of what was replayed


# ---- what devices found out ----------------------------------------------------------------------


@dataclass(frozen=True)
class Bench:
    """A run that MLflow knows, in its outputs, and what a board found out about it."""

    outputs: Path
    run_dir: Path
    report: Path
    run_id: str

    @property
    def group(self) -> str:
        return f"device/{device_report().slug}"


@pytest.fixture
def bench(uri: str, tmp_path: Path) -> Bench:
    run_dir = tmp_path / "outputs" / "runs" / ID
    run_dir.mkdir(parents=True)
    write_folder(run_dir, finished())
    return Bench(tmp_path / "outputs", run_dir, written(device_report(), tmp_path), log_live(uri, run_dir, finished()))


def written(report: DeviceReport, folder: Path) -> Path:
    (folder / "device.json").write_bytes(msgspec.json.encode(report))
    return folder / "device.json"


def test_what_a_device_found_out_stands_beside_the_run_and_not_among_its_own(uri: str, bench: Bench) -> None:
    own = client(uri).get_run(bench.run_id).data.metrics

    assert replay_device(bench.report, uri, "trials", bench.outputs) == bench.run_id

    metrics = client(uri).get_run(bench.run_id).data.metrics
    told = {name.removeprefix(f"{bench.group}/"): value for name, value in metrics.items() if name not in own}
    assert {name: value for name, value in metrics.items() if name in own} == own
    assert told["pruned-int8_static/latency_ms_p50"] == 40.0
    assert told["pruned-int8_static/speedup"] == 2.0
    assert told["baseline-fp32/latency_ms_p95"] == 82.0
    assert told["baseline-fp32/self_test_deviation"] == 0.001
    assert not any("/" in name and name.startswith("device/") for name in told)


def test_the_devices_file_is_kept_in_the_runs_folder_and_in_mlflow(uri: str, bench: Bench) -> None:
    replay_device(bench.report, uri, "trials", bench.outputs)

    name = f"{device_report().slug}.json"
    assert (bench.run_dir / "devices" / name).read_bytes() == bench.report.read_bytes()
    assert [file.path for file in client(uri).list_artifacts(bench.run_id, "devices")] == [f"devices/{name}"]


def test_replaying_a_device_again_doubles_nothing(uri: str, bench: Bench) -> None:
    replay_device(bench.report, uri, "trials", bench.outputs)
    before = everything(uri, bench.run_id)

    replay_device(bench.report, uri, "trials", bench.outputs)

    assert everything(uri, bench.run_id) == before


def test_a_newer_measurement_of_a_device_takes_the_place_of_the_older(uri: str, bench: Bench, tmp_path: Path) -> None:
    replay_device(bench.report, uri, "trials", bench.outputs)
    newer = replace(device_report(p50=60.0), created="2026-11-27T08:00:00+00:00")

    replay_device(written(newer, tmp_path), uri, "trials", bench.outputs)

    metrics = client(uri).get_run(bench.run_id).data.metrics
    assert metrics[f"{bench.group}/baseline-fp32/latency_ms_p50"] == 60.0
    assert len(list((bench.run_dir / "devices").iterdir())) == 1


def test_an_older_measurement_of_a_device_takes_no_newer_ones_place(uri: str, bench: Bench, tmp_path: Path) -> None:
    replay_device(bench.report, uri, "trials", bench.outputs)
    kept = bench.run_dir / "devices" / f"{device_report().slug}.json"
    before = kept.read_bytes()

    older = replace(device_report(p50=60.0), created="2026-11-26T08:30:00+02:00")  # 06:30 UTC
    replay_device(written(older, tmp_path), uri, "trials", bench.outputs)

    assert kept.read_bytes() == before
    assert client(uri).get_run(bench.run_id).data.metrics[f"{bench.group}/baseline-fp32/latency_ms_p50"] == 80.0


@pytest.mark.parametrize("content", [b"{", b'{"format": 7}'])
def test_a_damaged_or_newer_device_is_told_before_anything_is_logged(content: bytes, uri: str, bench: Bench) -> None:
    (bench.run_dir / "devices").mkdir()
    (bench.run_dir / "devices" / "board.json").write_bytes(content)
    experiment = client(uri).get_experiment_by_name("trials").experiment_id
    before = len(client(uri).search_runs([experiment]))

    with pytest.raises(ExportError, match="board.json (is damaged|has format 7)"):
        replay(bench.run_dir, uri, "trials")

    assert len(client(uri).search_runs([experiment])) == before


def test_a_run_that_is_replayed_brings_its_devices_along(uri: str, bench: Bench) -> None:
    replay_device(bench.report, uri, "trials", bench.outputs)
    before = everything(uri, bench.run_id)

    after = replay(bench.run_dir, uri, "trials")

    assert everything(uri, after) == before
    assert replay_device(bench.report, uri, "trials", bench.outputs) == after


def test_a_device_on_which_a_file_failed_has_no_latency_of_it(uri: str, bench: Bench, tmp_path: Path) -> None:
    failed = {"baseline-fp32": OnDevice("onnxruntime", Check({"scores": 0.9}, 0.05), None)}

    replay_device(written(replace(device_report(), models=failed), tmp_path), uri, "trials", bench.outputs)

    metrics = client(uri).get_run(bench.run_id).data.metrics
    told = {name: value for name, value in metrics.items() if name.startswith("device/")}
    assert told == {
        f"{bench.group}/baseline-fp32/self_test_deviation": 0.9,
        f"{bench.group}/baseline-fp32/self_test_passed": 0.0,
    }


def test_a_device_of_an_unknown_run_is_told_and_leaves_no_trace(uri: str, bench: Bench, tmp_path: Path) -> None:
    other = written(replace(device_report(), run_id="20261125_120000-000001_demo"), tmp_path)  # LIKE takes _ for any

    with pytest.raises(TrackingError, match="no run 20261125_120000-000001_demo in MLflow at sqlite.*--uri"):
        replay_device(other, uri, "trials", bench.outputs)
    assert not (bench.run_dir / "devices").exists()


def test_a_run_that_mlflow_does_not_know_keeps_its_device_and_says_how_to_bring_it(uri: str, tmp_path: Path) -> None:
    run_dir = tmp_path / "outputs" / "sweeps" / "night" / "3"
    run_dir.mkdir(parents=True)
    report = written(replace(device_report(), run_id="night/3"), tmp_path)

    with pytest.raises(TrackingError, match="MLflow has no run night/3; .*json is kept: secateur replay .*night/3"):
        replay_device(report, uri, "trials", tmp_path / "outputs")
    assert [path.read_bytes() for path in (run_dir / "devices").iterdir()] == [report.read_bytes()]


@pytest.mark.parametrize("content", ["", "{}", '{"format": 9}', "nonsense"])
def test_a_file_that_is_no_device_report_is_told(content: str, uri: str, tmp_path: Path) -> None:
    (tmp_path / "device.json").write_text(content)

    with pytest.raises(ExportError, match="device.json (is damaged, or no such file|has format 9)"):
        replay_device(tmp_path / "device.json", uri, "trials", tmp_path)
