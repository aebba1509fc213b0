from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from secateur.errors import ExportError, SpecError
from secateur.manifest import Check, OnDevice
from secateur.reporting.comparison import comparison, find
from secateur.reporting.summary import report_dict
from secateur.results import RunReport
from tests.example_report import finished
from tests.example_run import device_report


def test_a_run_is_found_once_though_latest_points_to_it_too(tmp_path: Path) -> None:
    write(finished(), tmp_path / "runs" / "a")
    (tmp_path / "latest").symlink_to("runs/a")

    assert len(find([tmp_path])) == 1


def test_a_place_without_runs_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no finished run below"):
        find([tmp_path])


def test_the_line_of_a_run_holds_what_it_ships(tmp_path: Path) -> None:
    report = finished()
    write(report, tmp_path)

    shown = text(comparison(find([tmp_path])))

    ships = next(c for c in report.candidates if c.name == report.selected)
    assert ships.name in shown
    assert f"{ships.latency.ms.p50:.1f}" in shown
    assert f"{ships.accuracy.box_map50_95:.3f}" in shown


def test_a_failed_run_says_why(tmp_path: Path) -> None:
    write(RunReport("x", "x", "failed", 1.0, {}, {}, None, "secateur run", error="no pictures"), tmp_path)

    assert "x failed: no pictures" in text(comparison(find([tmp_path])))


def test_runs_are_told_apart_by_what_not_all_were_asked(tmp_path: Path) -> None:
    for rate in ("0.2", "0.4"):
        write(replace(finished(), command=f"secateur run +study=quickstart schedule.target={rate}"), tmp_path / rate)

    shown = text(comparison(find([tmp_path])))

    assert "schedule.target=0.2" in shown
    assert "schedule.target=0.4" in shown
    assert "+study=quickstart" not in shown


def test_a_run_alone_is_told_without_what_was_asked(tmp_path: Path) -> None:
    write(finished(), tmp_path)

    assert "asked" not in text(comparison(find([tmp_path])))


def test_runs_of_two_devices_stand_in_two_tables(tmp_path: Path) -> None:
    here = finished()
    assert here.fingerprint
    write(here, tmp_path / "a")
    write(replace(here, fingerprint=replace(here.fingerprint, processor="Cortex-A76")), tmp_path / "b")

    shown = text(comparison(find([tmp_path])))

    assert shown.count("speed-up") == 2
    assert "Cortex-A76, 2 cores" in shown


def test_runs_of_one_device_stand_in_one_table(tmp_path: Path) -> None:
    write(finished(), tmp_path / "a")
    write(finished(), tmp_path / "b")

    assert text(comparison(find([tmp_path]))).count("speed-up") == 1


def test_a_device_that_measured_a_bundle_of_a_run_has_a_table_of_its_own(tmp_path: Path) -> None:
    write(finished(), tmp_path)
    (tmp_path / "devices").mkdir()
    (tmp_path / "devices" / "board.json").write_bytes(msgspec.json.encode(device_report(p50=80.0)))

    here, board = text(comparison(find([tmp_path]))).split("Cortex-A76, 4 cores, Raspberry Pi 5 Model B")
    assert "21.6  2.73× (2.65–2.80)" in here
    assert "40.0  2.00× (1.90–2.10)" in board
    assert "(its bundle)" in board


def test_what_a_device_says_of_itself_is_text_and_no_markup(tmp_path: Path) -> None:
    write(finished(), tmp_path)
    (tmp_path / "devices").mkdir()
    odd = replace(device_report(), device=replace(device_report().device, processor="[bold]Cortex[/red]"))
    (tmp_path / "devices" / "board.json").write_bytes(msgspec.json.encode(odd))

    assert "[bold]Cortex[/red], 4 cores" in text(comparison(find([tmp_path])))


@pytest.mark.parametrize("content", [b"", b'{"format": 7}', b'{"format": 1, "models": {}}'])
def test_a_damaged_or_newer_file_of_a_device_is_told_in_one_line(content: bytes, tmp_path: Path) -> None:
    write(finished(), tmp_path)
    (tmp_path / "devices").mkdir()
    (tmp_path / "devices" / "board.json").write_bytes(content)

    with pytest.raises(ExportError, match="^[^\n]*board.json (is damaged|has format 7)[^\n]*$"):
        comparison(find([tmp_path]))


def test_a_latency_of_several_pictures_at_once_says_so(tmp_path: Path) -> None:
    write(finished(), tmp_path / "a")
    report = finished()
    four = tuple(replace(c, latency=replace(c.latency, batch=4)) for c in report.candidates)
    write(replace(report, candidates=four), tmp_path / "b")

    shown = text(comparison(find([tmp_path])))

    assert shown.count("21.6 (batch 4)  2.73×") == 1
    assert shown.count("21.6  2.73×") == 1


def test_a_device_on_which_the_file_failed_has_no_table(tmp_path: Path) -> None:
    write(finished(), tmp_path)
    (tmp_path / "devices").mkdir()
    failed = replace(device_report(), models={"pruned-int8_static": OnDevice("onnxruntime", Check({}, 0.2), None)})
    (tmp_path / "devices" / "board.json").write_bytes(msgspec.json.encode(failed))

    assert "Cortex" not in text(comparison(find([tmp_path])))


def write(report: RunReport, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_bytes(msgspec.json.encode(report_dict(report, folder)))


def text(shown: object) -> str:
    console = Console(width=160)
    with console.capture() as captured:
        console.print(shown)
    return captured.get()
