import json
from pathlib import Path

import pytest

from secateur.records import overrides_of, records_in

RECORD = {"stage": "prune", "label": "−10% macs\u2028"}
"""With letters of several bytes, and one that ends a line for str, not for JSON."""


def written(folder: Path, content: bytes) -> Path:
    (folder / "records.jsonl").write_bytes(content)
    return folder


def line() -> bytes:
    return json.dumps(RECORD, ensure_ascii=False).encode() + b"\n"


def test_a_folder_without_records_has_none(tmp_path: Path) -> None:
    assert records_in(tmp_path) == []


@pytest.mark.parametrize("kept", [1, line().index("−".encode()) + 1, len(line()) - 2])
def test_a_last_record_that_a_kill_cut_short_is_left_out(kept: int, tmp_path: Path) -> None:
    folder = written(tmp_path, 2 * line() + line()[:kept])

    assert records_in(folder) == [RECORD, RECORD]


def test_a_last_record_that_lacks_only_its_end_of_line_is_whole(tmp_path: Path) -> None:
    folder = written(tmp_path, (2 * line()).rstrip())

    assert records_in(folder) == [RECORD, RECORD]


def test_the_overrides_of_a_command_are_told_without_its_flags() -> None:
    assert overrides_of("secateur run --trust +study=mine 'name=two words'") == ["+study=mine", "name=two words"]
    assert overrides_of("secateur run") == []
