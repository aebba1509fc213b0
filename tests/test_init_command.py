"""`secateur init`, through the real command."""

import sys
from pathlib import Path

import pytest

from secateur import cli


def init(folder: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["secateur", "init", folder])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_it_says_what_it_wrote_and_what_to_type_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    code, told = init("my nets", monkeypatch), capsys.readouterr().out

    assert code == 0
    assert all(Path(line.removeprefix("Wrote    ")).is_file() for line in told.splitlines()[:-1])
    assert told.endswith(
        "Next     cd 'my nets' && secateur run +study=mine model.weights=best.pt dataset.root=/path/to/data\n"
    )


def test_a_second_time_it_refuses_and_ends_with_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    init(".", monkeypatch)
    said = capsys.readouterr().out

    code, line = init(".", monkeypatch), capsys.readouterr().err

    assert "Next     secateur run +study=mine " in said
    assert code == 2
    assert line.endswith("is there already, and would be overwritten; name another folder\n")
    assert line.count("\n") == 1
