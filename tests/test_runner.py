import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from secateur.errors import StageError
from secateur.ports import Tools
from secateur.quantizers.fp32 import Fp32
from secateur.results import Epoch, Rung, RunReport, StageRecord
from secateur.runner import Runner
from secateur.stages import quantize
from secateur.store import Store, artifact
from tests.example_report import rungs


class Notes:
    """A sink that writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, ...]] = []
        self.records: list[StageRecord] = []

    def stage_started(self, stage: str, label: str) -> None:
        self.heard.append(("started", stage, label))

    def stage_finished(self, record: StageRecord) -> None:
        self.heard.append(("finished", record.stage, record.label))
        self.records.append(record)

    def epoch_finished(self, label: str, rung: int | None, epoch: Epoch) -> None:
        self.heard.append(("epoch", label, str(rung), str(epoch.epoch)))

    def rung_finished(self, rung: Rung) -> None:
        self.heard.append(("rung", str(rung.rung)))

    def run_finished(self, report: RunReport) -> None:
        self.heard.append(("run", report.status))


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def runner(tmp_path: Path, notes: Notes) -> Runner:
    tools: Any = {"detector": None, "pruner": None, "downloads": None}  # the stages here need neither net nor network
    return Runner(Tools(**tools, progress=lambda done, total: None), Store(tmp_path / "store"), [notes])


@pytest.fixture
def inputs(tmp_path: Path) -> quantize.Inputs:
    (tmp_path / "net.onnx").write_bytes(b"a net")
    return quantize.Inputs(artifact(tmp_path / "net.onnx"), Fp32(), 64)


def test_every_sink_hears_of_the_epochs_of_the_stage_that_trains(
    runner: Runner, notes: Notes, inputs: quantize.Inputs
) -> None:
    def train(inputs: quantize.Inputs, tools: Tools, out: Path) -> quantize.Outputs:
        tools.watch.epoch(Epoch(2, 3, {"boxes": 0.5}, 0.01, 1.0))
        return quantize.run(inputs, tools, out)

    train.__module__ = quantize.__name__

    runner(train, inputs, "fine-tuning", 1)

    assert notes.heard[1:-1] == [("epoch", "fine-tuning", "1", "2")]


def test_a_stage_is_run_once_and_then_reused(runner: Runner, notes: Notes, inputs: quantize.Inputs) -> None:
    first = runner(quantize.run, inputs, "baseline-fp32")
    second = runner(quantize.run, inputs, "baseline-fp32")

    assert first == second
    assert first.model.path.read_bytes() == b"a net"
    assert [record.reused for record in notes.records] == [False, True]
    assert notes.records[0].made_in_seconds == notes.records[1].made_in_seconds


class Doors:
    """A machine that notes who came in, and lets nobody in for a while."""

    def __init__(self) -> None:
        self.entered: list[str] = []

    @contextmanager
    def shared(self) -> Iterator[None]:
        self.entered.append("shared")
        yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        self.entered.append("alone")
        time.sleep(0.2)
        yield


def test_a_stage_that_takes_the_clock_has_the_machine_alone_and_a_reused_one_does_not_need_it(
    runner: Runner, inputs: quantize.Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    doors = Doors()
    runner = replace(runner, tools=replace(runner.tools, machine=doors))
    runner(quantize.run, inputs, "computes")
    monkeypatch.setattr(quantize, "VERSION", quantize.VERSION + 1)
    monkeypatch.setattr(quantize, "timed", lambda inputs: True, raising=False)
    runner(quantize.run, inputs, "takes the clock")
    runner(quantize.run, inputs, "reused")

    assert doors.entered == ["shared", "alone"]


def test_waiting_for_the_machine_is_not_part_of_what_a_result_took(
    runner: Runner, notes: Notes, inputs: quantize.Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = replace(runner, tools=replace(runner.tools, machine=Doors()))
    monkeypatch.setattr(quantize, "timed", lambda inputs: True, raising=False)
    runner(quantize.run, inputs, "takes the clock")

    (record,) = notes.records
    assert record.seconds >= 0.2 > record.made_in_seconds


def test_the_label_and_the_rung_do_not_change_the_key(runner: Runner, notes: Notes, inputs: quantize.Inputs) -> None:
    runner(quantize.run, inputs, "one", rung=1)
    runner(quantize.run, inputs, "two", rung=2)

    one, two = notes.records
    assert (one.label, one.rung, two.label, two.rung) == ("one", 1, "two", 2)
    assert one.key == two.key


def test_the_stages_version_changes_the_key(
    runner: Runner, notes: Notes, inputs: quantize.Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner(quantize.run, inputs, "before")
    monkeypatch.setattr(quantize, "VERSION", quantize.VERSION + 1)
    runner(quantize.run, inputs, "after")

    before, after = notes.records
    assert before.key != after.key
    assert not after.reused


def test_the_versions_of_the_stages_libraries_are_in_the_key(runner: Runner, inputs: quantize.Inputs) -> None:
    made = runner(quantize.run, inputs, "label").model.path

    identity = json.loads((made.parent / "meta.json").read_text())["identity"]
    assert identity[:3] == ["quantize", quantize.VERSION, {name: version(name) for name in quantize.LIBRARIES}]
    assert identity[3]["quantizer"] == {"kind": "Fp32@1"}


def test_the_version_of_a_library_that_only_the_part_works_with_is_in_the_key(
    runner: Runner, inputs: quantize.Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Fp32, "libraries", ("msgspec",), raising=False)
    made = runner(quantize.run, inputs, "label").model.path

    identity = json.loads((made.parent / "meta.json").read_text())["identity"]
    assert identity[2]["msgspec"] == version("msgspec")


def test_a_record_says_what_went_in_and_what_came_out(runner: Runner, notes: Notes, inputs: quantize.Inputs) -> None:
    outputs = runner(quantize.run, inputs, "label", rung=3)

    (record,) = notes.records
    assert record.stage == "quantize"
    assert record.inputs["model"] == inputs.model.sha256
    assert record.inputs["imgsz"] == 64
    assert record.outputs["model"] == outputs.model.sha256


def test_every_sink_hears_of_a_stage_before_and_after(runner: Runner, notes: Notes, inputs: quantize.Inputs) -> None:
    runner(quantize.run, inputs, "label")
    runner.tell(rungs()[0])

    assert notes.heard == [("started", "quantize", "label"), ("finished", "quantize", "label"), ("rung", "1")]


def test_a_stage_that_fails_is_not_recorded_and_not_stored(
    runner: Runner, notes: Notes, inputs: quantize.Inputs
) -> None:
    inputs.model.path.unlink()

    with pytest.raises(StageError, match="^quantize: "):
        runner(quantize.run, inputs, "label")
    assert notes.heard == [("started", "quantize", "label")]
    assert not (runner.store.root / "quantize").exists()
