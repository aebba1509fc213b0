import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from secateur.doctor import places


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def by_name(outputs: Path) -> dict[str, str]:
    return {check.name: check.state for check in places.checks(outputs)}


def test_a_folder_that_is_not_there_yet_is_fine_and_is_not_made(tmp_path: Path) -> None:
    found = places.place("outputs", tmp_path / "a" / "b", "elsewhere")

    assert found.state == "ok"
    assert "a/b, not there yet: " in found.text
    assert list(tmp_path.iterdir()) == []


def test_trying_to_write_leaves_nothing_behind(tmp_path: Path) -> None:
    assert places.unwritable(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_a_folders_place_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "outputs").touch()

    found = places.place("outputs", tmp_path / "outputs", "name another")

    assert (found.state, found.remedy) == ("problem", "name another")
    assert found.text.endswith("outputs: Not a directory")


def test_a_file_system_that_takes_no_files_is_a_problem() -> None:
    assert places.place("outputs", Path("/proc/nowhere"), "name another").state == "problem"


@pytest.mark.parametrize(("free_gb", "state"), [(0.5, "problem"), (5.0, "note"), (50.0, "ok")])
def test_little_room_is_told_before_there_is_none(
    free_gb: float, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(0, 0, int(free_gb * 1e9)))

    assert by_name(tmp_path)["outputs"] == state


def test_without_any_temporary_folder_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr("tempfile.gettempdir", none)

    assert places.temporary().state == "problem"
    assert places.temporary().remedy == "name another folder in TMPDIR"
