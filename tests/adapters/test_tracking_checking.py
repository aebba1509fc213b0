from pathlib import Path

import pytest

from secateur.adapters.tracking import prepare
from secateur.adapters.tracking.checking import check


def test_a_database_that_is_not_there_yet_is_fine_and_is_not_made(tmp_path: Path) -> None:
    found = check(f"sqlite:///{tmp_path}/mlflow.db")

    assert found.state == "ok"
    assert list(tmp_path.iterdir()) == []


def test_a_database_answers_with_its_experiments(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    prepare(uri)

    found = check(uri)

    assert (found.state, found.text) == ("ok", f"{uri} answers: 1 experiment")  # MLflow's own, `Default`


def test_a_file_that_is_no_database_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("no database at all, but long enough to be taken for one")

    found = check(f"sqlite:///{tmp_path}/mlflow.db")

    assert found.state == "problem"
    assert "\n" not in found.text


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "postgresql://me:secret@127.0.0.1/mlflow"])
def test_a_server_that_is_not_there_and_a_database_that_takes_one_are_problems_without_passwords(uri: str) -> None:
    found = check(uri)

    assert found.state == "problem"
    assert found.remedy
    assert "secret" not in found.text
