import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from secateur import searches
from secateur.errors import SpecError
from secateur.searches import Search
from secateur.spaces import Choices, Grid

SEARCH = Search(
    ["+study=quickstart"],
    {"schedule.target": {"low": 0.1, "high": 0.3, "step": 0.1}, "scope": ["local", "global"]},
    margin=0.01,
    seed=0,
)


def leave_report(folder: Path, status: str) -> None:
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps({"run": {"status": status}}))


def test_what_was_asked_is_read_back(tmp_path: Path) -> None:
    searches.begin(SEARCH, tmp_path / "searches" / "quickstart")
    read = searches.read(tmp_path / "searches" / "quickstart")

    assert read == SEARCH
    assert read.axes == {"schedule.target": Grid(0.1, 0.3, 0.1), "scope": Choices(["local", "global"])}


def test_the_same_search_goes_on(tmp_path: Path) -> None:
    searches.begin(SEARCH, tmp_path)

    searches.begin(SEARCH, tmp_path)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"overrides": ["seed=1"]}, "its overrides: +study=quickstart, not seed=1; "),
        ({"space": {"scope": ["local"]}}, 'its space: {"schedule.target": {"low": 0.1, '),
        ({"margin": None}, "its margin: 0.01, not null; "),
        ({"seed": 1}, "its seed: 0, not 1; "),
    ],
)
def test_another_search_of_the_same_name_is_refused(change: dict[str, Any], line: str, tmp_path: Path) -> None:
    searches.begin(SEARCH, tmp_path)

    with pytest.raises(SpecError) as refusal:
        searches.begin(replace(SEARCH, **change), tmp_path)
    assert str(refusal.value).startswith(f"{tmp_path} is another search, {line}")
    assert str(refusal.value).endswith("give this one a name of its own: name=…")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (None, "search holds no search: [Errno 2] No such file or directory"),
        ("{", "search holds no search: "),
        ('{"format": 99}', "search is of a newer secateur (format 99; this one reads 1)"),
        ('{"format": 1}', "search holds no search: "),
    ],
)
def test_what_is_no_search_is_told_in_one_line(
    content: str | None, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("search").mkdir()
    if content:
        (Path("search") / "search.json").write_text(content)

    with pytest.raises(SpecError) as refusal:
        searches.read(Path("search"))
    assert str(refusal.value).startswith(line)


def test_reports_are_those_of_its_trials_by_number(tmp_path: Path) -> None:
    for number, status in {"2": "finished", "10": "finished", "1": "stopped", "models": "finished"}.items():
        leave_report(tmp_path / number, status)
    (tmp_path / "3").mkdir()

    assert list(searches.reports(tmp_path)) == [1, 2, 10]
    assert list(searches.finished(tmp_path)) == [2, 10]
