import json
import os
import shlex
import sys
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from secateur.app import commands, composing, running
from secateur.errors import SpecError
from secateur.specs import Training

ROOT = Path(__file__).parents[2]

# ---- composing ------------------------------------------------------------------------------------


def test_what_is_composed_is_plain_values_checked_and_typed() -> None:
    spec = commands.check(["schedule=one_shot", "schedule.target=0.4", "max_map_drop=0.02", "finetune.epochs=3"])

    assert spec.schedule.rungs() == (0.4,)
    assert spec.max_map_drop == 0.02
    assert type(spec.finetune) is Training
    assert spec.finetune.epochs == 3


def test_a_whole_number_is_taken_where_a_fraction_is_meant() -> None:
    assert commands.check(["benchmark.seconds=3"]).benchmark.seconds == 3.0


@pytest.mark.parametrize(
    ("override", "devices"),
    [("device=cpu", ("cpu",)), ("device=[cpu,cpu]", ("cpu", "cpu")), ('device="cpu,cpu"', ("cpu", "cpu"))],
)
def test_devices_are_taken_as_a_list_or_as_a_text(override: str, devices: tuple[str, ...], folder: Path) -> None:
    from rich.console import Console

    from secateur.console import Screen

    tools, _ = running.workshop(composing.composed([override]), Screen(Console()))

    assert tools.detector.devices == devices


@pytest.mark.parametrize("override", ["device=0", "device=[0,1]", 'device="0,1"', "device=cuda:1"])
def test_gpus_may_be_asked_for_by_their_numbers(override: str) -> None:
    commands.check([override])


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["~schedule"], "schedule is not set; give it on the command line: schedule=…"),
        (["~schedule.steps"], "schedule.steps is not set; give it on the command line: schedule.steps=…"),
        (["dataset=yolo_folder"], "dataset.root is not set; give it on the command line: dataset.root=…"),
        (
            ["model=yolov8n_seg_scratch", "+model.training.epoch=3"],
            "unknown key 'model.training.epoch'; there are model.training.batch, ",
        ),
        (["model=yolov8n_seg_scratch", "model.training.lr0=0"], "model.training.lr0 must be in (0, 1], got 0.0"),
        (
            ["model=yolov8n_seg_scratch", "model.training.optimizer=Adamm"],
            "model.training.optimizer must be one of SGD, Adam, AdamW, MuSGD, none, got 'Adamm'",
        ),
        (
            ["quantization=int8_qat", "device=[cpu,cpu]"],
            "quantization=int8_qat trains on one device, got 2: device=cpu",
        ),
        (
            ["quantization=int8_qat", "quantization.training.epochs=0"],
            "quantization: training.epochs must be 1 or more; for none take int8_static",
        ),
        (
            ["quantization=int8_qat", "quantization.training.precision=bf16"],
            "quantization: training.precision must be fp32, in which INT8 is rounded, got bf16",
        ),
        (["quantization=int8_qat", "quantization.training.lr0=0"], "quantization.training.lr0 must be in (0, 1], got "),
        (["quantization=int8_qat", "quantization.images=0"], "quantization.images must be 1 or more, got 0"),
        (["sparsity=grup_norm"], "no sparsity named 'grup_norm'; there are group_norm, none; did you mean "),
        (["sparsity.strength=1"], "unknown key 'sparsity.strength'; see what there is with: secateur run --cfg job"),
        (["sparsity=group_norm", "+sparsity.strenght=1"], "unknown key 'sparsity.strenght'; there are "),
        (["sparsity=group_norm", "+sparsity.training.epoch=1"], "unknown key 'sparsity.training.epoch'; there are "),
        (["sparsity=group_norm", "device=[cpu,cpu]"], "sparsity=group_norm trains on one device, got 2: device=cpu"),
        (["sparsity=group_norm", "~sparsity.strength"], "sparsity.strength is not set; give it on the command line: "),
        (["sparsity=group_norm", "sparsity.strength=-1"], "sparsity.strength must be 0 or more, got -1.0"),
        (["sparsity=group_norm", "sparsity.strength=x"], "sparsity.strength: expected float, got str (value: 'x')"),
        (["sparsity=group_norm", "sparsity.training.lr0=0"], "sparsity.training.lr0 must be in (0, 1], got 0.0"),
        (
            ["sparsity=group_norm", "sparsity.training.epochs=0"],
            "sparsity: training.epochs must be 1 or more; for none ",
        ),
        (
            ["sparsity=group_norm", "sparsity.training.precision=fp16"],
            "sparsity: training.precision must be auto, bf16 or fp32: fp16 scales gradients",
        ),
        (["activation=gelu"], "activation must be one of silu, relu, hardswish, got 'gelu'"),
        (["activation=null"], "activation: expected str, got null (value: None)"),
        (
            ["activation=relu", "schedule=none"],
            "schedule=none prunes nothing, so that sparsity must be none and activation silu",
        ),
        (
            ["activation=relu", "finetune=gentle"],
            "finetune.freeze must be none with activation=relu, which changes every layer, got untouched",
        ),
        (["model.weights=null"], "model: either weights, or an architecture and a training to start from scratch, "),
        (["dataset.smallest=0.9"], "dataset: 0 < smallest <= largest <= 1 must hold, got 0.9 and 0.6"),
        (["+quantization.images.x=3"], "quantization.images: expected int, got object (value: {'x': 3})"),
        (["schedule=null"], "Config group override must be a string or a list. Got NoneType"),
        (["schedule.target=[1"], "no viable alternative at input '[1'"),
    ],
)
def test_what_cannot_be_composed_is_refused_in_one_line(overrides: list[str], line: str) -> None:
    with pytest.raises(SpecError) as refusal:
        commands.check(overrides)

    assert str(refusal.value).startswith(line)
    assert "\n" not in str(refusal.value)


def test_one_refusal_does_not_hinder_the_next_run() -> None:
    with pytest.raises(SpecError):
        commands.check(["schedul=linear"])

    assert commands.check([]).name == "run"


def test_conf_and_experiments_are_found_from_any_folder() -> None:
    assert (composing.shipped("conf") / "config.yaml").is_file()
    assert (composing.shipped("experiments") / "study" / "quickstart.yaml").is_file()


# ---- commands -------------------------------------------------------------------------------------


def test_hydras_own_flags_show_the_config_without_a_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = commands.main(["+study=quickstart", "--cfg", "job"])

    assert code == 0
    assert "name: quickstart" in capsys.readouterr().out
    assert not (folder / "outputs").exists()


def test_a_command_leaves_nothing_behind_in_the_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "as it was")
    before = sys.argv
    commands.main(["--cfg", "job"])

    assert sys.argv is before
    assert os.environ["HYDRA_FULL_ERROR"] == "as it was"
    assert not GlobalHydra.instance().is_initialized()
    assert Path.cwd() == folder


def test_a_run_that_fails_is_reported_like_one_that_ends_well(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = [f"dataset.{split}=1" for split in ("train", "val")] + [
        "model.weights=yolo_missing.pt",
        "tracking=none",
    ]
    code = commands.main(overrides)

    (run,) = (folder / "outputs" / "runs").iterdir()
    report = json.loads((run / "report.json").read_text())
    assert code == 2
    assert capsys.readouterr().err == "secateur: model.weights: no file 'yolo_missing.pt'\n"
    assert report["run"]["status"] == "failed"
    assert report["run"]["error"] == "model.weights: no file 'yolo_missing.pt'"
    assert shlex.split(report["run"]["command"]) == ["secateur", "run", *overrides]
    assert (folder / "outputs" / "latest").resolve() == run


def test_latest_points_to_the_newest_run(folder: Path) -> None:
    for name in ("first", "second"):
        (folder / "outputs" / "runs" / name).mkdir(parents=True)
        running._point_latest(folder / "outputs" / "runs" / name, folder / "outputs")

    assert (folder / "outputs" / "latest").readlink() == Path("runs/second")
    assert {path.name for path in (folder / "outputs").iterdir()} == {"runs", "latest"}


def test_latest_is_moved_on_where_a_killed_process_of_this_number_was_about_to(folder: Path) -> None:
    (folder / "outputs" / "runs" / "run").mkdir(parents=True)
    (folder / "outputs" / f".latest-{os.getpid()}").symlink_to("runs/gone")
    running._point_latest(folder / "outputs" / "runs" / "run", folder / "outputs")

    assert (folder / "outputs" / "latest").readlink() == Path("runs/run")


@pytest.mark.parametrize(
    ("place", "overrides", "told"),
    [
        (".", ["+study=mine"], ["secateur ui ", "secateur run +study=mine schedule.target=0.45 "]),
        (".", ["tracking=none"], ["secateur run tracking=none schedule.target=0.45 ", "secateur bundle "]),
        (str(ROOT), ["+study=quickstart"], ["make ui ", 'make run ARGS="schedule.target=0.45" ']),
        (str(ROOT), ["seed=1", "schedule.target=0.2"], ['make run ARGS="seed=1 schedule.target=0.45" ']),
    ],
)
def test_what_to_type_next_goes_where_the_run_was_started_and_asks_for_what_it_did(
    place: str,
    overrides: list[str],
    told: list[str],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from rich.console import Console

    monkeypatch.chdir(place)

    commands._say_where_run(Console(), folder, overrides, is_tracked="tracking=none" not in overrides)

    said = capsys.readouterr().out
    assert all(command in said for command in told)
    assert ("in MLflow" in said) == ("tracking=none" not in overrides)
