"""Keeps what the runs of a study found, as text, so that its report can be checked: no model, no picture.

    python experiments/keep.py outputs/sweeps/<sweep> experiments/reports/<study>

Of each finished run below the first folder, records.jsonl, report.json and what devices found out about its bundle come
to lie below the second, under the same number. What a single class, layer, channel or picture came to is left out: it
is most of the bytes, and no report tells it.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from secateur.manifest import DEVICES, devices_of

BULKY = {"classes", "layers", "samples", "channels", "pictures"}
"""Keys of lists that are left out, wherever they stand."""


def keep(runs: Path, reports: Path) -> list[Path]:
    """The folders that were written; raises SystemExit where there is nothing to keep."""
    found = [path.parent for path in sorted(runs.rglob("report.json")) if _status(path) == "finished"]
    if not found:
        raise SystemExit(f"no finished run below {runs}")
    return [_keep(folder, reports / folder.relative_to(runs)) for folder in found]


def _status(report: Path) -> str:
    status: str = json.loads(report.read_bytes())["run"]["status"]
    return status


def _keep(run: Path, place: Path) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    records = [json.loads(line) for line in (run / "records.jsonl").read_text(encoding="utf-8").splitlines()]
    (place / "report.json").write_text(_dumps(_slim(report)) + "\n", encoding="utf-8")
    (place / "records.jsonl").write_text("".join(_dumps(_slim(each)) + "\n" for each in records), encoding="utf-8")
    if devices_of(run):
        shutil.copytree(run / DEVICES, place / DEVICES, dirs_exist_ok=True)
    return place


def _slim(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _slim(each) for key, each in value.items() if not (key in BULKY and isinstance(each, (list, dict)))
        }
    return [_slim(each) for each in value] if isinstance(value, list) else value


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=True)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(f"usage: {sys.argv[0]} <folder of runs> <experiments/reports/study>")
    for written in keep(Path(sys.argv[1]), Path(sys.argv[2])):
        print(written)
