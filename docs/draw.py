"""Draws the pictures of the guides from the reports in docs/example, as the pages draw them: make pictures."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from secateur.comparisons import compared, runs_in
from secateur.reporting import charts
from secateur.reporting.charts import Step
from secateur.reporting.comparison_page import front_of
from secateur.reporting.pictures import picture
from secateur.reporting.run_charts import WIDE
from secateur.reporting.summary import change
from secateur.reporting.table import billions

DOCS = Path(__file__).parent


def drawn() -> dict[str, str]:
    """Each picture by its file's name."""
    (group,) = compared(runs_in([DOCS / "example" / "honest"]), every=True).groups
    report = json.loads((DOCS / "example" / "quickstart" / "report.json").read_text())
    return {
        "front.svg": picture(front_of(group)),
        "ladder.svg": picture(charts.ladder(list(_steps(report)), "mask", WIDE, _least(report))),
    }


def _steps(report: dict[str, Any]) -> Iterator[Step]:
    base = report["baseline"]
    yield Step("unpruned", None, base["mask_map50_95"], base["macs"] / 1e9, billions(base["macs"]), accepted=True)
    for rung in report["rungs"]:
        before, after, macs = rung["pruned"]["mask_map50_95"], rung["tuned"]["mask_map50_95"], rung["macs"]
        name = f"{rung['rung']}: {change(macs, base['macs'])} MACs"
        yield Step(name, before, after, macs / 1e9, billions(macs), rung["accepted"])


def _least(report: dict[str, Any]) -> float | None:
    drop = report["run"]["spec"]["max_map_drop"]
    return None if drop is None else report["baseline"]["mask_map50_95"] - drop


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in drawn().items():
        (folder / name).write_text(content, encoding="utf-8")
