"""How a run ends in its folder, whatever became of it; the pipeline is another's business."""

import errno
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from secateur.app import running
from secateur.app.composing import composed
from secateur.app.running import Order, report_failure, run_in_folder
from secateur.journal import Journal
from tests.example_report import finished


@pytest.fixture
def order() -> Order:
    return Order(composed(["tracking=none", "dataset.train=1"]), ())


@pytest.fixture
def place(folder: Path) -> Path:
    place = folder / "outputs" / "runs" / "run"
    place.mkdir(parents=True)
    return place


Ends = Callable[[Callable[..., Any]], None]


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Ends:
    """Puts this in the pipeline's place."""
    return lambda pipeline: monkeypatch.setattr(running, "_run", pipeline)


def run_of(place: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((place / "report.json").read_text())["run"]
    return told


def test_an_unexpected_fault_is_told_in_one_line_and_raised_on(order: Order, place: Path, ends: Ends) -> None:
    def fault(*_: Any) -> None:
        raise RuntimeError("the first\nand the second line")

    ends(fault)

    with pytest.raises(RuntimeError):
        run_in_folder(order, place)
    assert (run_of(place)["status"], run_of(place)["error"]) == (
        "failed", "RuntimeError: the first and the second line",
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_is_told_and_raised_on(number: int, order: Order, place: Path, ends: Ends) -> None:
    ends(lambda *_: os.kill(os.getpid(), number))

    with pytest.raises(KeyboardInterrupt):
        run_in_folder(order, place)
    assert run_of(place)["status"] == "killed"


def test_an_interrupt_that_a_library_swallows_ends_the_run_at_its_next_step(
    order: Order, place: Path, ends: Ends
) -> None:
    class Library:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    def swallows(*arguments: Any) -> None:
        Library()
        for sink in arguments[-1]:
            sink.stage_started("prune", "−10% macs")
        raise AssertionError("it went on")

    ends(swallows)

    with pytest.raises(KeyboardInterrupt):
        run_in_folder(order, place)
    assert run_of(place)["status"] == "killed"


def full(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_run_whose_report_does_not_fit_is_told_to_the_others_as_failed(
    order: Order, place: Path, ends: Ends, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ends(lambda *_: finished())
    monkeypatch.setattr(Journal, "run_finished", full)

    with pytest.raises(OSError, match="No space left"):
        run_in_folder(order, place)
    assert "The run failed: OSError: [Errno 28] No space left on device" in capsys.readouterr().out


def test_a_report_that_cannot_be_written_is_told_to_the_others(
    order: Order, place: Path, ends: Ends, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fault(*_: Any) -> None:
        raise RuntimeError("at first")

    ends(fault)
    monkeypatch.setattr(Journal, "run_finished", full)

    with pytest.raises(RuntimeError, match="at first"):
        run_in_folder(order, place)
    assert "The run failed: RuntimeError: at first" in capsys.readouterr().out


def test_a_run_whose_process_died_is_told_with_its_seconds(order: Order, place: Path) -> None:
    report_failure(order, place, "its process was ended by signal 9", started=time.perf_counter() - 90)

    assert run_of(place)["seconds"] == pytest.approx(90, abs=5)
