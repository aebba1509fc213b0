"""Fills in the tables and pictures of experiments/reports from the records that are kept there: make reports.

A report says between two comments what stands there, and this writes it anew:

    <!-- secateur compare experiments/reports/lab4 --all --format markdown -->
    <!-- end -->
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
REPORTS = ROOT / "experiments" / "reports"

BLOCK = re.compile(r"<!-- (secateur compare .+?) -->\n.*?<!-- end -->", re.DOTALL)


def filled(text: str, draw: bool = False) -> str:
    """The report with what each of its commands says now; with `draw`, their --svg is drawn too."""
    return BLOCK.sub(lambda block: f"<!-- {block[1]} -->\n\n{said(block[1], draw)}\n<!-- end -->", text)


def said(command: str, draw: bool) -> str:
    """What a command prints, without the absolute path of this checkout. Raises SystemExit where it fails."""
    code, words = "from secateur.cli import main; main()", shlex.split(command)
    if "--svg" in words and not draw:
        place = words.index("--svg")
        del words[place : place + 2]
    asked = [sys.executable, "-c", code, *words[1:]]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "COLUMNS": "100"})
    nothing_fits = done.returncode == 2 and "--budget" in words and done.stdout  # which is an answer
    if done.returncode and not nothing_fits:
        raise SystemExit(f"{command}: {done.stderr}")
    return done.stdout.replace(f"{ROOT.as_posix()}/", "")


if __name__ == "__main__":
    for report in sorted(REPORTS.glob("*.md")):
        report.write_text(filled(report.read_text(encoding="utf-8"), draw=True), encoding="utf-8")
