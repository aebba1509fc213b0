import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from secateur.comparisons import compared, runs_in
from secateur.errors import ExportError
from secateur.manifest import Check, OnDevice
from secateur.offers import Offer, best, parse
from secateur.reporting.comparison import FORMATS, Offers, tables
from secateur.reporting.summary import report_dict
from secateur.results import RunReport
from tests.example_report import finished
from tests.example_run import device_report


def test_the_line_of_a_run_holds_what_it_ships(tmp_path: Path) -> None:
    report = finished()
    write(report, tmp_path)

    told = shown(tmp_path)

    ships = next(c for c in report.candidates if c.name == report.selected)
    assert ships.name in told
    assert f"{ships.latency.ms.p50:.1f}" in told
    assert f"{ships.accuracy.box_map50_95:.3f}" in told


def test_a_failed_run_says_why(tmp_path: Path) -> None:
    write(RunReport("x", "x", "failed", 1.0, {}, {}, None, "secateur run", error="no pictures"), tmp_path)

    assert "x failed: no pictures" in shown(tmp_path)


def test_runs_are_told_apart_by_what_not_all_were_asked(tmp_path: Path) -> None:
    for rate, how in (("0.2", ""), ("0.4", "--trust ")):
        command = f"secateur run {how}+study=quickstart schedule.target={rate}"
        write(replace(finished(), command=command), tmp_path / rate)

    told = shown(tmp_path)

    assert "schedule.target=0.2" in told
    assert "schedule.target=0.4" in told
    assert "+study=quickstart" not in told
    assert "--trust" not in told


def test_a_run_alone_is_told_without_what_was_asked(tmp_path: Path) -> None:
    write(finished(), tmp_path)

    assert "asked" not in shown(tmp_path)


def test_runs_of_two_devices_stand_in_two_tables(tmp_path: Path) -> None:
    here = finished()
    assert here.fingerprint
    write(here, tmp_path / "a")
    write(replace(here, fingerprint=replace(here.fingerprint, processor="Cortex-A76")), tmp_path / "b")

    told = shown(tmp_path)

    assert told.count("p50 ms") == 2
    assert "Cortex-A76, 2 cores" in told


def test_runs_of_one_device_stand_in_one_table(tmp_path: Path) -> None:
    write(finished(), tmp_path / "a")
    write(finished(), tmp_path / "b")

    assert shown(tmp_path).count("p50 ms") == 1


def test_a_device_that_measured_a_bundle_of_a_run_has_a_table_of_its_own(tmp_path: Path) -> None:
    write(finished(), tmp_path)
    (tmp_path / "devices").mkdir()
    (tmp_path / "devices" / "board.json").write_bytes(msgspec.json.encode(device_report(p50=80.0)))

    here, board = shown(tmp_path).split("Cortex-A76, 4 cores, Raspberry Pi 5 Model B")
    assert " 21.6 25.9 2.7× (2.6–2.8)" in here
    assert "2.00× (1.90–2.10)" in board
    assert " 40.0 " in board
    assert "(its bundle)" in board


def test_a_bundle_that_was_timed_where_its_run_was_stands_beside_the_run(tmp_path: Path) -> None:
    here = finished()
    assert here.fingerprint
    write(here, tmp_path)
    (tmp_path / "devices").mkdir()
    again = replace(device_report(p50=80.0), device=here.fingerprint)
    (tmp_path / "devices" / "here.json").write_bytes(msgspec.json.encode(again))

    lines = [line for line in shown(tmp_path).splitlines() if "pruned-int8_static" in line]

    assert [("(its bundle)" in line, "2.7× (2.6–2.8)" in line) for line in lines] in (
        [[(True, False), (False, True)], [(False, True), (True, False)]]
    )


def test_a_budget_is_of_a_board_too_where_its_bundle_was_timed(tmp_path: Path) -> None:
    write(finished(), tmp_path)
    (tmp_path / "devices").mkdir()
    (tmp_path / "devices" / "board.json").write_bytes(msgspec.json.encode(device_report(p50=80.0)))

    _, board = compared(runs_in([tmp_path]), every=True).groups

    assert board.reference is not None
    assert isinstance(best(board, parse("speedup>=1.5")), Offer)


def test_what_a_device_says_of_itself_is_text_and_no_markup(tmp_path: Path) -> None:
    write(finished(), tmp_path)
    (tmp_path / "devices").mkdir()
    odd = replace(device_report(), device=replace(device_report().device, processor="[bold]Cortex[/red]"))
    (tmp_path / "devices" / "board.json").write_bytes(msgspec.json.encode(odd))

    assert "[bold]Cortex[/red], 4 cores" in shown(tmp_path)


@pytest.mark.parametrize("content", [b"", b'{"format": 7}', b'{"format": 1, "models": {}}'])
def test_a_damaged_or_newer_file_of_a_device_is_told_in_one_line(content: bytes, tmp_path: Path) -> None:
    write(finished(), tmp_path)
    (tmp_path / "devices").mkdir()
    (tmp_path / "devices" / "board.json").write_bytes(content)

    with pytest.raises(ExportError, match="^[^\n]*board.json (is damaged|has format 7)[^\n]*$"):
        shown(tmp_path)


def test_a_latency_of_several_pictures_at_once_says_so(tmp_path: Path) -> None:
    write(finished(), tmp_path / "a")
    report = finished()
    four = tuple(replace(c, latency=replace(c.latency, batch=4)) for c in report.candidates)
    write(replace(report, candidates=four), tmp_path / "b")

    told = shown(tmp_path)

    assert told.count(" 5.4 (batch 4) ") == 1
    assert told.count(" 21.6 ") == 1


def test_a_device_on_which_the_file_failed_has_no_table(tmp_path: Path) -> None:
    write(finished(), tmp_path)
    (tmp_path / "devices").mkdir()
    failed = replace(device_report(), models={"pruned-int8_static": OnDevice("onnxruntime", Check({}, 0.2), None)})
    (tmp_path / "devices" / "board.json").write_bytes(msgspec.json.encode(failed))

    assert "Cortex" not in shown(tmp_path)


def test_what_others_beat_is_told_last_of_all_where_there_is_no_room(tmp_path: Path) -> None:
    write(finished(), tmp_path)

    told = shown(tmp_path, limit=3, budget="speedup>=1")

    assert "pruned-fp32 " not in told.partition("▶")[0]
    assert "baseline-int8_static" in told
    assert "1 more: --limit 0 tells them too" in told


def test_a_narrow_terminal_has_fewer_columns_and_no_broken_names(tmp_path: Path) -> None:
    for rate in ("0.2", "0.4"):
        write(replace(finished(), command=f"secateur run schedule.target={rate}"), tmp_path / rate)

    narrow, wide = shown(tmp_path, width=90), shown(tmp_path, width=180)

    assert "params" in wide
    assert "params" not in narrow
    assert "pruned-int8_static" in narrow
    assert "2.7× (2.6–2.8)" in narrow


def test_eighty_columns_hold_the_run_what_was_asked_of_it_and_what_came_of_it_in_one_line() -> None:
    honest = Path(__file__).parents[2] / "docs" / "example" / "honest"

    (line,) = (line for line in shown(honest, width=80).splitlines() if "…/0" in line and "pruned" in line)

    assert line.split() == "● …/0 importance=magnitude imgsz=128 pruned-int8_static 0.780 1.91× (1.84–1.93)".split()


def test_the_offer_says_what_why_what_the_next_ones_lack_and_what_to_type(tmp_path: Path) -> None:
    write(finished(), tmp_path)
    (tmp_path / "models").mkdir()

    told = shown(tmp_path, budget="speedup>=1.6, mask_drop<=0.04")

    assert "▶ Ship baseline-int8_static of 2026-11-22_16-00-00_demo: the most accurate of 1 that keep" in told
    assert "Not baseline-fp32 of 2026-11-22_16-00-00_demo: speedup is 1, speedup >= 1.6 was asked for." in told
    assert f"secateur bundle {tmp_path} --ship baseline-int8_static" in told


def test_of_kept_records_nothing_is_offered_to_be_bundled(tmp_path: Path) -> None:
    write(finished(), tmp_path)

    told = shown(tmp_path, budget="speedup>=1.6, mask_drop<=0.04")

    assert "secateur bundle" not in told
    assert f"{tmp_path} holds records and no models: the run's own command makes them again" in told


def test_an_offer_that_holds_as_measured_only_says_so(tmp_path: Path) -> None:
    write(finished(), tmp_path)

    assert "As measured only; with the worse end of its 95 % interval speedup is 1.61" in shown(
        tmp_path, budget="speedup>=1.63, mask_drop<=0.03"
    )


def test_nothing_that_fits_is_said_with_what_comes_nearest(tmp_path: Path) -> None:
    write(finished(), tmp_path)

    told = shown(tmp_path, budget="speedup>=9")

    assert "▶ Nothing fits. The nearest is pruned-int8_static" in told
    assert "speedup is 2.73, speedup >= 9 was asked for" in told


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_holds_every_file_and_the_same_figures(form: str, tmp_path: Path) -> None:
    write(finished(), tmp_path)

    told = FORMATS[form](compared(runs_in([tmp_path]), every=True), offers(tmp_path, "speedup>=2"))

    for file in finished().candidates:
        assert file.name in told
    assert "0.318" in told
    assert "21.6" in told


def test_json_and_csv_tell_the_measured_values_unrounded(tmp_path: Path) -> None:
    write(finished(), tmp_path)
    found = compared(runs_in([tmp_path]), every=True)

    files = json.loads(FORMATS["json"](found, None))["groups"][0]["files"]
    lines = list(csv.DictReader(io.StringIO(FORMATS["csv"](found, None))))

    assert [file["speedup_low"] for file in files] == [float(line["speedup_low"]) for line in lines]
    told = {file["file"]: file for file in files}["pruned-int8_static"]
    assert (told["mask_change"], told["mask_change_low"], told["p95_ms"]) == (-0.033, -0.041, pytest.approx(25.92))
    assert told["front"] is True


def test_a_pipe_in_a_name_does_not_break_a_markdown_table(tmp_path: Path) -> None:
    write(replace(finished(), id="a|b"), tmp_path)

    assert "| a\\|b |" in FORMATS["markdown"](compared(runs_in([tmp_path])), None)


def write(report: RunReport, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_bytes(msgspec.json.encode(report_dict(report, folder)))


def shown(place: Path, width: int = 180, limit: int = 40, budget: str | None = None) -> str:
    """What the terminal has of the runs below the place."""
    found = compared(runs_in([place]), every=budget is not None)
    console = Console(width=width)
    with console.capture() as captured:
        console.print(tables(found, offers(place, budget) if budget else None, limit))
    return captured.get()


def offers(place: Path, budget: str) -> Offers:
    groups = compared(runs_in([place]), every=True).groups
    return {number: best(group, parse(budget)) for number, group in enumerate(groups)}
