"""Whether a pinned version is known to be vulnerable: what is made of pip-audit's answer, which needs the network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

AUDIT = Path(__file__).parents[1] / ".ci" / "audit.py"

VULNERABLE = {"name": "pillow", "version": "9.0.0", "vulns": [{"id": "PYSEC-2023-175", "fix_versions": ["10.0.1"]}]}
SAFE = {"name": "rich", "version": "14.0.0", "vulns": []}
UNKNOWN = {"name": "ours", "skip_reason": "Dependency not found"}


def audit(answer: str, folder: Path, error: str = "") -> subprocess.CompletedProcess[str]:
    (folder / "pip_audit.py").write_text(f"import sys; sys.stdout.write({answer!r}); sys.exit({error!r})")
    env = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run([sys.executable, AUDIT], env=env, capture_output=True, text=True)


def test_a_vulnerable_version_is_told_with_what_mends_it_and_fails(tmp_path: Path) -> None:
    done = audit(json.dumps({"dependencies": [VULNERABLE, SAFE, UNKNOWN], "fixes": []}), tmp_path)

    assert (done.returncode, done.stderr) == (1, "pillow 9.0.0: PYSEC-2023-175; mended in: 10.0.1\n")
    assert done.stdout == "audit: 2 packages asked about, 1 findings\n"


def test_safe_versions_pass(tmp_path: Path) -> None:
    done = audit(json.dumps({"dependencies": [SAFE, UNKNOWN], "fixes": []}), tmp_path)

    assert (done.returncode, done.stdout) == (0, "audit: 1 packages asked about, 0 findings\n")


@pytest.mark.parametrize(
    ("answer", "error"),
    [("", "requests.exceptions.ProxyError: Max retries exceeded"), (json.dumps({"dependencies": [UNKNOWN]}), "")],
)
def test_where_nobody_can_be_reached_that_is_said_and_nothing_fails(answer: str, error: str, tmp_path: Path) -> None:
    done = audit(answer, tmp_path, error)

    assert done.returncode == 0
    assert "left out" in done.stdout


def test_an_audit_that_fails_for_another_reason_fails(tmp_path: Path) -> None:
    done = audit("", tmp_path, "pip-audit: error: unrecognized arguments: --requirement")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "audit: pip-audit failed: pip-audit: error: unrecognized arguments: --requirement\n"
