"""Trials that cannot be; those that can are in test_search_command.py."""

from pathlib import Path

import pytest

from secateur import searches
from secateur.adapters.search import Trials
from secateur.app.trials import work
from secateur.searches import Search


def test_a_combination_that_cannot_be_is_told_and_counts_as_failed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search = Search(["runtime=ncnn", "tracking=none"], {"quantization": ["int8_static", "nncf"]}, margin=0.01, seed=0)
    searches.begin(search, folder)
    work(folder, 2, beside_others=False)

    assert Trials(folder, search.axes, search.seed).tally() == {"failed": 2}
    assert "trial 0: cannot be: runtime=ncnn does not run " in capsys.readouterr().out
