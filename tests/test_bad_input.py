"""What a person may get wrong, through the real command: one line that says the value and the remedy, exit code 2."""

import json
import logging
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest
import yaml

from secateur import cli
from secateur.datasets.shapes import Shapes
from secateur.datasets.yolo_folder import YoloFolder
from secateur.ports import Tools
from secateur.results import Artifact
from secateur.specs import Distillation
from secateur.stages import evaluate, finetune, prepare
from secateur.store import artifact
from tests.conftest import files_no_larger_than
from tests.example_report import finished
from tests.example_tracking import write_folder

if TYPE_CHECKING:
    from ultralytics.nn.tasks import BaseModel

    from secateur.adapters.yolo.door import Yolo

Run = Callable[..., tuple[int, str]]

SECATEUR = Path(sys.executable).with_name("secateur")
NOWHERE: Any = None
TINY = ["dataset.train=2", "dataset.val=2", "dataset.size=64", "imgsz=64", "tracking=none"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@pytest.fixture
def secateur(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[int, str]]]:
    """The command, in this process: its exit code, and what it wrote to stderr."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["secateur", *arguments])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        return int(exit_.value.code or 0), capsys.readouterr().err

    yield run
    for handler in set(root.handlers) - set(before):  # Hydra's, of this job
        handler.close()
    root.handlers[:] = before
    root.setLevel(level)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two and two pictures in YOLO format, to be spoilt."""
    Shapes(train=2, val=2, size=64).write(tmp_path / "data", NOWHERE)
    return tmp_path / "data"


def one_line(stderr: str) -> str:
    """The line, without the command's name."""
    (line,) = stderr.splitlines()
    assert line.startswith("secateur: ")
    return line.removeprefix("secateur: ")


def report(folder: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((folder / "outputs" / "latest" / "report.json").read_text())
    return told


def failed(folder: Path, line: str) -> None:
    """Checks that the run tells so, keeps what it had found, and left nothing half-made."""
    told = report(folder)
    assert (told["run"]["status"], told["run"]["error"]) == ("failed", line)
    assert told["baseline"]["macs"] > 0
    assert half_made(folder) == []


def half_made(folder: Path) -> list[Path]:
    return [*folder.glob("outputs/store/.tmp/*"), *folder.glob("outputs/**/*.part")]


# ---- the words of a command ----------------------------------------------------------------------

WORDS = [
    ("nosuch", "no command named 'nosuch'; there are bench, *, ui"),
    ("comprae", "no command named 'comprae'; there are bench, *, ui; did you mean 'compare'?"),
    ("store shwo", "no command named 'shwo'; there are gc, ls, show, verify; did you mean 'show'?"),
    ("--nosuch", "no option --nosuch; see secateur --help"),
    ("compare --budgt x", "compare: no option --budgt; did you mean '--budget'?"),
    ("compare --xyzzy", "compare: no option --xyzzy; see secateur compare --help"),
    ("compare --limit", "compare: option '--limit' requires an argument; see secateur compare --help"),
    ("compare --limit many", "compare: --limit many: * integer*; see secateur compare --help"),
    ("compare --limit=-1", "compare: --limit -1: *0; see secateur compare --help"),
    ("search", "search: missing option '--trials'; see secateur search --help"),
    ("search --trials x", "search: --trials x: *; see secateur search --help"),
    ("search --trials 0", "--trials must be 1 or more, got 0"),
    ("search --trials 3 --wrokers 2", "search: no option --wrokers; did you mean '--workers'?"),
    ("predict", "predict: missing argument 'model'; see secateur predict --help"),
    ("predict a.onnx b.png --confidence 3", "predict: --confidence 3: *1; see secateur predict --help"),
    ("doctor a.onnx b.onnx", "doctor: got unexpected extra argument(s) (b.onnx); see secateur doctor --help"),
    ("store show", "store show: missing argument 'key'; see secateur store show --help"),
    ("store gc --days -1", "store gc: --days -1: *0; see secateur store gc --help"),
    ("run quickstart", "'quickstart' is no override, which is written key=value; of a study: +study=quickstart"),
    ("run study=mine", "a study is added with a plus: +study=…"),
    ("run --trsut", "run: no option --trsut; did you mean '--trust'?"),
    ("run --cfg", "run: argument --cfg/-c: expected one argument"),
    ("run --experimental-rerun config.pickle", "a run takes no --experimental-rerun; *"),
    ("sensitivity --trsut", "sensitivity: no option --trsut; did you mean '--trust'?"),
    ("ui --port http", "ui: --port http: *; see secateur ui --help"),
    ("bundle", "*outputs/latest*"),
    ("bundle nowhere", "*nowhere*"),
    ("bench nowhere", "*nowhere*"),
    ("replay nowhere", "*nowhere*"),
    *(
        (f"store {words}", "no store at *outputs/store; name the folder that runs write to with --outputs")
        for words in ("ls", "show abcd", "verify", "gc --days 7")
    ),
    ("compare --budget fast", "--budget: cannot read 'fast'; a budget is made of terms such as latency_ms_p50<=30, *"),
    ("compare --budget 'speedup>1.5'", "--budget: cannot read 'speedup>1.5'; *with <= or >=*"),
    ("compare --budget 'mask_dro<=1'", "--budget: no measure 'mask_dro'; did you mean 'mask_drop'?"),
    ("compare --format xml", "--format must be table, markdown, csv, json, got 'xml'"),
    ("compare --format markdwon", "--format must be table, *, got 'markdwon'; did you mean 'markdown'?"),
    ("compare --rungs --all --html f.html", "--rungs is a table of its own: leave out --all, --html"),
    ("compare --register", "--register needs a --budget, which says what is wanted: *"),
    ("compare nowhere", "no folder nowhere; all runs that there are: secateur compare outputs"),
    ("compare --filter \"params.imgsz = '64'\"", "--filter is for the runs that MLflow has: add --mlflow; *"),
    ("compare . --mlflow", ". and --mlflow: give one of them; *"),
    ("compare --mlflow", "there is no database at sqlite:///outputs/mlflow.db; *"),
    ("compare .", "no finished run below .; do one: secateur run +study=quickstart"),
]


@pytest.mark.parametrize(("words", "line"), WORDS, ids=[words for words, _ in WORDS])
def test_what_a_command_does_not_take_gets_one_line_and_leaves_no_trace(
    words: str, line: str, secateur: Run, folder: Path
) -> None:
    code, stderr = secateur(*shlex.split(words))

    assert code == 2
    assert fnmatchcase(one_line(stderr), line)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("flags", [[], ["--debug"]], ids=["", "--debug"])
def test_a_device_without_the_training_stack_says_how_to_install_it(
    flags: list[str], secateur: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "hydra", None)  # as Python notes that there is none
    monkeypatch.delitem(sys.modules, "secateur.app.commands", raising=False)
    code, stderr = secateur("run", *flags)

    assert code == 2
    assert stderr.endswith("this takes the training stack (hydra): pip install 'secateur[lab]'\n")
    assert stderr.startswith("Traceback " if flags else "secateur: ")
    assert list(folder.iterdir()) == []


PICTURELESS = [
    ("/nowhere.jpg", "there is no /nowhere.jpg; give a picture, a folder, a video or a camera*"),
    (".", "no picture in .; looked for .bmp*"),
    (". --json /nowhere/found.json", "--json: cannot write /nowhere/found.json (No such file*"),
    (". --classes triangel", "no class named 'triangel'; there are 0, 1, 2, 3, 4"),
    (". --runtime onnxruntim", "no runtime named 'onnxruntim'; *; did you mean 'onnxruntime'?"),
]


@pytest.mark.parametrize(("words", "line"), PICTURELESS, ids=[words for words, _ in PICTURELESS])
def test_a_prediction_that_cannot_be_gets_one_line_and_leaves_no_trace(
    words: str, line: str, seg_onnx: Path, secateur: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    code, stderr = secateur("predict", str(seg_onnx), *shlex.split(words))

    assert code == 2
    assert fnmatchcase(one_line(stderr), line)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("words", ["", "store"])
def test_a_command_without_words_shows_what_there_is(words: str, secateur: Run, folder: Path) -> None:
    code, shown = secateur(*words.split())

    assert code == 2
    assert "Commands:\n" in shown
    assert "--debug" in shown


@pytest.mark.parametrize("words", ["--debug compare nowhere", "compare --debug nowhere", "compare nowhere --debug"])
def test_debug_tells_an_error_with_its_traceback_wherever_it_stands(words: str, secateur: Run, folder: Path) -> None:
    code, stderr = secateur(*words.split())

    assert code == 2
    assert stderr.startswith("Traceback (most recent call last):\n")
    assert stderr.endswith("SpecError: no folder nowhere; all runs that there are: secateur compare outputs\n")


def test_debug_shows_what_hydra_had_to_say(secateur: Run, folder: Path) -> None:
    _, stderr = secateur("run", "schedul=linear", "--debug")

    assert "ConfigAttributeError: Key 'schedul' is not in struct" in stderr
    assert "secateur: " not in stderr


# ---- what can be known before anything is imported or written -------------------------------------

MISTYPED = [
    ("importance=magnitud", "no importance named 'magnitud'; there are * did you mean 'magnitude'?"),
    ("model=yolov9", "no model named 'yolov9'; there are * did you mean 'yolov8n'?"),
    ("+study=quickstrt", "no study named 'quickstrt'; there are * did you mean 'quickstart'?"),
    ("schedul=linear", "unknown key 'schedul'; see what there is with: * --cfg job; did you mean 'schedule'?"),
    ("schedule.stpes=3", "unknown key 'schedule.stpes'; see what there is with: *; did you mean 'schedule.steps'?"),
    ("nonsense_of_mine=3", "unknown key 'nonsense_of_mine'; see what there is with: secateur run --cfg job"),
    ("~shedule", "unknown key 'shedule'; see what there is with: secateur run --cfg job"),
    ("+sede=1", "unknown key 'sede'; there are * did you mean 'seed'?"),
    ("+schedule.stpes=3", "unknown key 'schedule.stpes'; there are * did you mean 'schedule.steps'?"),
    ("tracking.name=wandb", "tracking.name must be mlflow or none, got 'wandb'"),
    ("schedule.steps=many", "schedule.steps: expected int, got str (value: 'many')"),
    ("schedule.steps=2.5", "schedule.steps: expected int, got float (value: 2.5)"),
    ("imgsz=null", "imgsz: expected int, got null (value: None)"),
    ("scope.head=3", "scope.head: expected bool, got int (value: 3)"),
    (
        "finetune.optimizer=Adamm",
        "finetune.optimizer must be one of SGD, *, got 'Adamm'; did you mean 'Adam'?",
    ),
    ("schedule.unit=flops", "schedule.unit must be one of channels, macs, params, latency, got 'flops'"),
    ("schedule.target=0", "schedule.target must be in (0, 1), got 0.0"),
    ("schedule.target=1", "schedule.target must be in (0, 1), got 1.0"),
    ("schedule.target=-0.3", "schedule.target must be in (0, 1), got -0.3"),
    ("schedule.target=30", "schedule.target must be in (0, 1), got 30.0"),
    ("patience=-1", "patience must be 0 or more rungs, got -1"),
    ("sensitivity.ratios=[0.5,0.2]", "sensitivity.ratios must rise within (0, 1), got [0.5, 0.2]"),
    ("sensitivity.ratios=[]", "sensitivity.ratios must rise within (0, 1), got []"),
    ("scope.kind=lokal", "scope.kind must be one of local, global, *, got 'lokal'; did you mean 'local'?"),
    ("scope.keep=model.0.*", "scope.keep: expected array, got str (value: 'model.0.*')"),
    ("export.batch=0", "export.batch must be 1 or more, got 0"),
    ("export.dynamic=true", "export.dynamic must be false with quantization=int8_static, which takes one shape only"),
    ("export.dynamic=yes please", "export.dynamic: expected bool, got str (value: 'yes please')"),
    ("max_map_drop=0", "max_map_drop must be in (0, 1], got 0.0"),
    ("max_map_drop=2", "max_map_drop must be in (0, 1], got 2.0"),
    ("imgsz=100", "imgsz must be a multiple of 32, got 100"),
    ("imgsz=0", "imgsz must be a multiple of 32, got 0"),
    ("finetune.epochs=-1", "finetune.epochs must be 0 or more, got -1"),
    ("dataset=yolo_folder", "dataset.root is not set; give it on the command line: dataset.root=…"),
    ("model.weights=none/best.pt", "model.weights: no file 'none/best.pt'"),
    ("model.weights=best.pt", "model.weights: no file 'best.pt'"),
    ("distillation=other_teacher", "distillation.teacher is not set; give it on the command line: *.teacher=…"),
    ("distillation.teacher=none/big.pt", "distillation.teacher: no file 'none/big.pt'"),
    ("distillation.masks=-1", "distillation.masks must be 0 or more, got -1.0"),
    ("dataset.unlabelled=nowhere", "dataset.unlabelled: no folder 'nowhere'"),
    ("finetune.precision=fp8", "finetune.precision must be one of auto, fp32, bf16, fp16, got 'fp8'"),
    ("finetune.precision=fp16", "finetune.precision=fp16 needs a GPU; take bf16, fp32 or auto on the CPU"),
    (
        "runtime.provider=CUDAProvider",
        "runtime.provider: this ONNX Runtime has no 'CUDAProvider'; there are *CPUExecutionProvider",
    ),
    ("+runtime.provider_options.device_id=1", "runtime.provider_options must be empty with *got {'device_id': 1}"),
    ("runtime=onnxruntim", "no runtime named 'onnxruntim'; there are * did you mean 'onnxruntime'?"),
    ("runtime=ncnn", "runtime=ncnn does not run int8_static's files: pnnx converts those of quantization=fp32 only"),
    ("nonsense", "'nonsense' is no override, which is written key=value; of a study: +study=nonsense"),
    ("a b=1", "LexerNoViableAltException: a b=1*"),
]


@pytest.mark.parametrize(("override", "line"), MISTYPED, ids=[override for override, _ in MISTYPED])
def test_a_mistyped_override_gets_one_line_and_leaves_no_trace(
    override: str, line: str, secateur: Run, folder: Path
) -> None:
    code, stderr = secateur("run", override)

    start, _, end = line.partition("*")
    assert code == 2
    assert one_line(stderr).startswith(start)
    assert one_line(stderr).endswith(end)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("command", ["run", "sensitivity"])
@pytest.mark.parametrize(
    ("name", "library", "line"),
    [
        ("nncf", "nncf", "quantization=nncf needs NNCF: pip install 'secateur[nncf]'"),
        ("int8_qat", "modelopt", "quantization=int8_qat needs NVIDIA's ModelOpt: pip install 'secateur[qat]'"),
        ("int8_qat", "huggingface_hub", "quantization=int8_qat needs NVIDIA's ModelOpt: pip install 'secateur[qat]'"),
    ],
)
def test_a_quantizer_whose_library_is_missing_gets_one_line_and_leaves_no_trace(
    name: str, library: str, line: str, command: str, secateur: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)  # as Python notes that there is none

    code, stderr = secateur(command, f"quantization={name}")

    assert (code, one_line(stderr)) == (2, line)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "library", "line"),
    [
        ("openvino", "openvino", "runtime=openvino needs OpenVINO: pip install 'secateur[openvino]'"),
        ("ncnn", "ncnn", "runtime=ncnn needs ncnn: pip install 'secateur[ncnn]'"),
    ],
)
def test_a_runtime_whose_library_is_missing_gets_one_line_and_leaves_no_trace(
    name: str, library: str, line: str, secateur: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)  # as Python notes that there is none

    code, stderr = secateur("run", f"runtime={name}", "quantization=fp32")

    assert (code, one_line(stderr)) == (2, line)
    assert list(folder.iterdir()) == []


def test_rungs_that_do_not_rise_get_one_line_and_leave_no_trace(secateur: Run, folder: Path) -> None:
    code, stderr = secateur("run", "schedule=ladder", "schedule.shares=[0.3,0.1]")

    assert (code, one_line(stderr)) == (2, "schedule.shares must rise within (0, 1), got [0.3, 0.1]")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("sensitivity.ratio=[0.5]", "unknown key 'sensitivity.ratio'; see what there is with: secateur run --cfg job"),
        ("sensitivity.ratios=[0.5,0.2]", "sensitivity.ratios must rise within (0, 1), got [0.5, 0.2]"),
        ("importance=magnitud", "no importance named 'magnitud'; there are "),
        ("nonsense", "'nonsense' is no override, which is written key=value; of a study: +study=nonsense"),
        ("dataset=yolo_folder", "dataset.root is not set; give it on the command line: dataset.root=…"),
        ("model.weights=none/best.pt", "model.weights: no file 'none/best.pt'"),
    ],
    ids=str,
)
def test_sensitivity_refuses_what_a_run_refuses(override: str, line: str, secateur: Run, folder: Path) -> None:
    code, stderr = secateur("sensitivity", override)

    assert code == 2
    assert one_line(stderr).startswith(line)
    assert list(folder.iterdir()) == []


def without_yaml(data: Path) -> None:
    (data / "data.yaml").unlink()


def malformed(data: Path) -> None:
    (data / "data.yaml").write_text("train: [images/train")


def without_names(data: Path) -> None:
    (data / "data.yaml").write_text("train: images/train\nval: images/val\n")


def without_training_pictures(data: Path) -> None:
    shutil.rmtree(data / "images" / "train")


def without_validation_pictures(data: Path) -> None:
    shutil.rmtree(data / "images" / "val")


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (without_yaml, "dataset.root: 0 data yamls in '{data}' where one is needed; name it with dataset.yaml=…"),
        (malformed, "dataset: {data}/data.yaml is no YAML: "),
        (without_names, "dataset: {data}/data.yaml does not say names"),
        (without_training_pictures, "dataset: no train pictures at {data}/images/train (data.yaml says so)"),
        (without_validation_pictures, "dataset: no val pictures at {data}/images/val (data.yaml says so)"),
    ],
)
def test_a_data_set_that_cannot_be_one_gets_one_line_and_leaves_no_trace(
    spoil: Callable[[Path], None], line: str, data: Path, secateur: Run, folder: Path
) -> None:
    spoil(data)
    code, stderr = secateur("run", "dataset=yolo_folder", f"dataset.root={data}")

    assert code == 2
    assert one_line(stderr).startswith(line.format(data=data))
    assert list(folder.iterdir()) == []


def test_a_data_yaml_that_is_missing_gets_one_line(data: Path, secateur: Run, folder: Path) -> None:
    code, stderr = secateur("run", "dataset=yolo_folder", f"dataset.root={data}", "dataset.yaml=coco.yaml")

    assert (code, one_line(stderr)) == (2, f"dataset: cannot read {data}/coco.yaml: No such file or directory")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "overrides", [["seed=x"], ["-m", "schedul=linear"], ["+study=quickstart", "imgsz=100"]], ids=str
)
def test_a_process_of_its_own_ends_with_2_and_one_line(overrides: list[str], folder: Path) -> None:
    done = subprocess.run([SECATEUR, "run", *overrides], capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert one_line(done.stderr)
    assert done.stdout == ""
    assert list(folder.iterdir()) == []


def test_an_outputs_folder_that_cannot_be_made_gets_one_line(secateur: Run, folder: Path) -> None:
    (folder / "outputs").write_text("a file")
    code, stderr = secateur("run", *TINY)

    assert code == 2
    assert one_line(stderr).startswith("cannot write: outputs is no folder; choose one with outputs=…")
    assert (folder / "outputs").read_text() == "a file"


# ---- what shows once the run has begun: told in one line too, and in the report -------------------


def a_class_too_many(data: Path) -> None:
    (data / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [circle]\n")
    for path in (data / "labels" / "train").iterdir():
        path.write_text("1 0 0 1 0 1 1\n")


def no_polygon(data: Path) -> None:
    (data / "labels" / "val" / "000001.txt").write_text("0 0.5 0.5 0.1\n")


def a_box(data: Path) -> None:
    (data / "labels" / "val" / "000001.txt").write_text("0 0.5 0.5 0.1 0.1\n")


def no_training_labels(data: Path) -> None:
    shutil.rmtree(data / "labels" / "train")


def no_picture(data: Path) -> None:
    (data / "images" / "val" / "000001.png").write_text("no picture")


def a_training_picture(data: Path) -> None:
    shutil.copy(data / "images" / "train" / "000000.png", data / "images" / "val" / "000001.png")


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (a_class_too_many, "dataset: train/000000.txt line 1: class 1 where data.yaml names 1 classes (0–0)"),
        (no_polygon, "dataset: val/000001.txt line 1: 3 numbers after the class, where 4 are a box's x y w h, and"),
        (a_box, "dataset: val/000001.txt line 1: boxes among polygons, where Ultralytics would drop the polygons: "),
        (no_training_labels, "dataset: the train pictures have no labels at all"),
        (no_picture, "cannot read the picture "),
        (a_training_picture, "dataset: 1 of 2 validation pictures are training pictures too, which int8_static "),
    ],
)
def test_data_that_cannot_be_used_get_one_line(
    spoil: Callable[[Path], None], line: str, data: Path, secateur: Run, folder: Path
) -> None:
    spoil(data)
    own = ["model=yolov8n_seg_scratch", "dataset=yolo_folder", f"dataset.root={data}", "importance=taylor"]
    code, stderr = secateur("run", *own, "imgsz=64", "tracking=none")

    assert code == 2
    assert one_line(stderr).startswith(line)
    assert report(folder)["run"]["error"] == one_line(stderr)
    assert half_made(folder) == []
    assert not (folder / "outputs" / "store" / "baseline").exists()


def test_sensitivity_quantizes_nothing_and_takes_what_a_run_could_not_calibrate_on(
    data: Path, seg_checkpoint: Path, secateur: Run, folder: Path
) -> None:
    a_training_picture(data)
    own = ["dataset=yolo_folder", f"dataset.root={data}", f"model.weights={seg_checkpoint}", "scope.keep=[*]"]
    _, stderr = secateur("sensitivity", *own, "imgsz=64", "tracking=none")

    assert stderr.endswith(f"secateur: {NO_GROUP}\n")  # as far as the nets


def text(seg_checkpoint: Path, out: Path) -> None:
    out.write_text("no checkpoint\n" * 100)


def nothing(seg_checkpoint: Path, out: Path) -> None:
    out.touch()


def truncated(seg_checkpoint: Path, out: Path) -> None:
    content = seg_checkpoint.read_bytes()
    out.write_bytes(content[: len(content) // 2])


def of_another_library(seg_checkpoint: Path, out: Path) -> None:
    import torch

    torch.save({"state_dict": {"weight": torch.zeros(3)}}, out)


def of_another_task(seg_checkpoint: Path, out: Path) -> None:
    import torch
    from ultralytics.nn.tasks import ClassificationModel

    net = ClassificationModel("yolov8n-cls.yaml", nc=3, verbose=False)
    net.task = "classify"
    torch.save({"model": net, "ema": None, "train_args": {"task": "classify"}}, out)


class Program:
    """What unpickling makes of it is a file, `mark`."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("open('mark', 'w')",)


def that_runs_code(seg_checkpoint: Path, out: Path) -> None:
    import torch

    torch.save({"model": Program()}, out)


def of_the_old_format(seg_checkpoint: Path, out: Path) -> None:
    import torch

    torch.save({"model": Program()}, out, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (text, "is no Ultralytics checkpoint: "),
        (nothing, "is no Ultralytics checkpoint: "),
        (truncated, "is no Ultralytics checkpoint: "),
        (of_another_library, "is no Ultralytics checkpoint: "),
        (of_another_task, "is a net for 'classify'; secateur takes segment and detect"),
        (that_runs_code, "could run code: it names builtins.exec, of which no Ultralytics net is made; if you trust"),
        (of_the_old_format, "could run code: it is a bare pickle, as before torch 1.6; save it anew, or, if you trust"),
    ],
)
def test_weights_that_cannot_be_used_get_one_line(
    make: Callable[[Path, Path], None], line: str, seg_checkpoint: Path, secateur: Run, folder: Path
) -> None:
    make(seg_checkpoint, folder / "best.pt")
    code, stderr = secateur("run", *TINY, "model.weights=best.pt")

    assert code == 2
    assert one_line(stderr).startswith("model.weights: ")
    assert line in one_line(stderr)
    assert report(folder)["run"]["status"] == "failed"
    assert half_made(folder) == []
    assert not (folder / "outputs" / "store" / "baseline").exists()
    assert not (folder / "mark").exists()


NO_GROUP = "the net has no group of channels that may be pruned; allow some with scope.keep or scope.head"
UNCUTTABLE = [
    (["scope.keep=[*]"], NO_GROUP),
    (["scope.keep=[*]", "schedule.unit=channels"], NO_GROUP),
    (["scope.keep=[modle.0.*]"], "scope.keep: 'modle.0.*' matches no layer; there are model.0.conv, * up to model.*"),
    (
        ["schedule=one_shot", 'scope.keep=["model.[2-9]*"]', "scope.head=false"],
        "0.3 of the macs is out of reach: at most 0.* can go; lower schedule.target, or allow more with scope.max*",
    ),
]


@pytest.mark.parametrize(("overrides", "line"), UNCUTTABLE, ids=["all kept", "all kept", "no layer", "out of reach"])
def test_a_cut_that_cannot_be_made_gets_one_line_and_keeps_what_was_done(
    overrides: list[str], line: str, seg_checkpoint: Path, secateur: Run, folder: Path
) -> None:
    code, stderr = secateur("run", *TINY, f"model.weights={seg_checkpoint}", *overrides)

    assert code == 2
    assert fnmatchcase(one_line(stderr), line)
    failed(folder, one_line(stderr))


@pytest.mark.parametrize("command", ["run", "sensitivity"])
def test_a_net_without_channels_to_prune_gets_one_line(command: str, yolo: "Yolo", secateur: Run, folder: Path) -> None:
    yolo.save(net_of_unknown_blocks(), folder / "unknown.pt")
    code, stderr = secateur(command, *TINY, "model.weights=unknown.pt", "scope.head=false")

    assert (code, one_line(stderr)) == (2, NO_GROUP)
    assert half_made(folder) == []


def net_of_unknown_blocks() -> "BaseModel":
    from ultralytics.nn.tasks import DetectionModel

    blocks = [[-1, 1, "C2fCIB", [16, True]], [-1, 1, "nn.MaxPool2d", [2, 2]], [-1, 1, "C2fCIB", [16, True]]]
    net = DetectionModel({"nc": 5, "backbone": blocks, "head": [[[2], 1, "Detect", ["nc"]]]}, verbose=False)
    net.task = "detect"
    return net


@pytest.mark.slow
def test_a_latency_that_the_smallest_net_does_not_reach_gets_one_line(
    seg_checkpoint: Path, secateur: Run, folder: Path
) -> None:
    clock = ["schedule=one_shot", "schedule.unit=latency", "schedule.target=0.99"]
    code, stderr = secateur("run", *TINY, f"model.weights={seg_checkpoint}", *clock)

    assert code == 2
    assert one_line(stderr).startswith("0.99 of the latency is out of reach: at most 0.")
    failed(folder, one_line(stderr))


def test_a_gpu_that_is_not_there_gets_one_line(secateur: Run, folder: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    code, stderr = secateur("run", *TINY, "device=cuda")

    assert code == 2
    assert one_line(stderr) == "device='cuda': no CUDA device is available here; use device=cpu"


@pytest.mark.parametrize(
    ("override", "line"),
    [("device=abc", "device='abc': a device is cpu, cuda or the number of a GPU, several stand between commas; here "),
     ("device=[cpu,0]", "device='cpu,0': CPU and GPUs do not train together; here there is cpu"),
     ("device=null", "device: expected int | str | array, got null (value: None)"),
     ("device=0,1", "Ambiguous value for argument 'device=0,1' 1. To use it as a list, use key=[value1,value2]"),
     ("device=[cpu,cpu,cpu]", "finetune.batch=16 cannot be divided among 3 devices; take finetune.batch=15")],
)  # fmt: skip
def test_devices_that_cannot_be_get_one_line_before_anything_starts(
    override: str, line: str, secateur: Run, folder: Path
) -> None:
    code, stderr = secateur("run", *TINY, override)

    assert code == 2
    assert one_line(stderr).startswith(line)
    assert not any(folder.iterdir())


def test_a_checkpoint_that_does_not_fit_on_the_disk_gets_one_line(
    seg_checkpoint: Path, secateur: Run, folder: Path
) -> None:
    with files_no_larger_than(1_000_000):
        code, stderr = secateur("run", *TINY, f"model.weights={seg_checkpoint}")

    assert code == 2
    assert one_line(stderr).startswith("baseline: cannot write to the store at ")
    assert "File too large" in one_line(stderr)
    assert not list(folder.glob("outputs/**/*.part"))
    assert not (folder / "outputs" / "store" / "baseline").exists()


def test_a_disk_that_is_full_from_the_start_gets_one_line(secateur: Run, folder: Path) -> None:
    with files_no_larger_than(100):
        code, stderr = secateur("run", *TINY)

    assert code == 2
    assert one_line(stderr).startswith("cannot write: [Errno 27] File too large")
    assert half_made(folder) == []


def test_a_report_that_does_not_fit_on_the_disk_gets_one_line(secateur: Run, folder: Path) -> None:
    with files_no_larger_than(6_000):  # enough for the config, too little for report.html
        code, stderr = secateur("run", *TINY)

    assert code == 2
    assert one_line(stderr).startswith("cannot write: [Errno 27] File too large")
    assert half_made(folder) == []
    assert list(folder.glob("outputs/runs/*/report.html")) == []


def test_a_store_entry_damaged_by_hand_is_made_anew_with_a_warning(secateur: Run, folder: Path) -> None:
    fails_after_prepare = [*TINY, "model=yolov8n_seg_scratch", "model.architecture=missing-seg.yaml"]
    secateur("run", *fails_after_prepare)
    (entry,) = (folder / "outputs" / "store" / "prepare").iterdir()
    (entry / "data" / "data.yaml").write_text("by hand")
    code, stderr = secateur("run", *fails_after_prepare)

    warning, error = stderr.splitlines()
    assert warning.startswith(f"WARNING: store: prepare/{entry.name[:12]} is damaged (data): moved aside, made anew")
    assert (code, error) == (2, "secateur: model.architecture: Ultralytics has no 'missing-seg.yaml'")
    assert yaml.safe_load((entry / "data" / "data.yaml").read_text())["val"] == "images/val"
    assert len(list((folder / "outputs" / "store" / ".damaged").iterdir())) == 1


# ---- data that must not be written to -------------------------------------------------------------


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of all that is in a folder."""
    found = {path: path.lstat() for path in [folder, *folder.rglob("*")]}
    return {path.relative_to(folder).as_posix(): (s.st_size, s.st_mtime_ns) for path, s in found.items()}


def test_nothing_is_written_beside_the_data(
    data: Path, yolo: "Yolo", seg_checkpoint: Path, recipe: Any, folder: Path
) -> None:
    before = tree(data)
    pruner: Any = None
    tools, weights = Tools(yolo, pruner, yolo, progress=lambda done, total: None), artifact(seg_checkpoint)
    prepared: Artifact = prepare.run(prepare.Inputs("content", YoloFolder(str(data))), tools, folder).data
    stored = tree(prepared.path)
    finetune.run(finetune.Inputs(weights, prepared, recipe(batch=2), Distillation(), 64, 0), tools, folder)
    evaluate.run(evaluate.Inputs(weights, prepared, 64), tools, folder)

    assert tree(data) == before
    assert tree(prepared.path) == stored


# ---- comparing -----------------------------------------------------------------------------------


def test_a_budget_that_nothing_keeps_ends_with_exit_code_2(secateur: Run, folder: Path) -> None:
    write_folder(folder / "run", finished())

    assert secateur("compare", "run", "--budget", "speedup>=1.5, mask_drop<=0.05")[0] == 0
    assert secateur("compare", "run", "--budget", "speedup>=9") == (2, "")


def test_the_picture_of_a_comparison_is_an_svg_of_one_table(secateur: Run, folder: Path) -> None:
    report = finished()
    assert report.fingerprint
    write_folder(folder / "here", report)
    write_folder(folder / "there", replace(report, id="x", fingerprint=replace(report.fingerprint, cores=4)))

    assert secateur("compare", "here", "--all", "--svg", "front.svg")[0] == 0
    assert ElementTree.parse(folder / "front.svg").getroot().tag.endswith("svg")
    assert secateur("compare", "here", "there", "--svg", "both.svg") == (
        2, "secateur: --svg draws one table, got 2: name runs of one device and data set\n",
    )  # fmt: skip
    assert not (folder / "both.svg").exists()
