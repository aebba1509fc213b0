"""Runs from Python: composed, changed and done as from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import secateur
from secateur import RunSpec, SecateurError, compose, run
from secateur.app.checking import to_spec
from secateur.app.composing import composed
from secateur.app.notebook import as_plain, overrides_of

ROOT = Path(__file__).parents[2]
RUNS = {
    "trained from scratch": ["+study=quickstart"],
    "data that must be named": ["+study=finetuned", "dataset.root=my data", "model.weights=best.pt"],
    "a list": ["+study=lab4/ours", "scope.keep=[model.0.*,model.56.cv3.*]"],
    "training in parts": ["sparsity=group_norm", "quantization=int8_qat"],
    "data that is published": ["dataset=coco8_seg"],
    "nothing pruned": ["schedule=none", "healing=none", "runtime=openvino", "quantization=fp32"],
}
TINY = [
    "dataset.size=64", "dataset.train=8", "dataset.val=4", "model.training.epochs=1", "finetune=none", "imgsz=64",
    "max_map_drop=null", "benchmark.rounds=2", "benchmark.seconds=0.1", "benchmark.warmup_seconds=0.1",
    "quantization=fp32",
]  # fmt: skip


@pytest.mark.parametrize("asked", RUNS.values(), ids=RUNS)
def test_the_overrides_that_a_run_is_told_by_compose_to_it(asked: list[str]) -> None:
    spec = compose(*asked)

    plain = composed(overrides_of(as_plain(spec, {"outputs": "a b", "device": "0"})))

    assert to_spec(plain) == spec
    assert (plain["outputs"], plain["device"]) == ("a b", "0")


def test_a_run_that_differs_in_nothing_is_told_by_no_override() -> None:
    assert overrides_of(as_plain(compose(), {})) == []


def test_a_part_that_was_changed_is_told_by_its_fields_alone() -> None:
    spec = compose("importance=taylor")
    changed = replace(spec, scope=replace(spec.scope, round_to=16), name="mine")

    assert sorted(overrides_of(as_plain(changed, {}))) == ["importance=taylor", "name=mine", "scope.round_to=16"]


def test_what_is_no_setting_or_no_run_is_refused_in_one_line() -> None:
    with pytest.raises(SecateurError, match="unknown key 'devise'; there are .*; did you mean 'device'"):
        run(compose(), devise="cpu")
    with pytest.raises(SecateurError, match="unknown key 'slots'"):
        run(compose(), slots=[0, 1])
    with pytest.raises(SecateurError, match="no schedule named 'lineer'"):
        compose("schedule=lineer")
    with pytest.raises(ValueError, match="imgsz must be a multiple of 32, got 65"):
        replace(compose(), imgsz=65)


def test_each_name_of_the_package_is_there_and_no_other() -> None:
    assert {name for name in secateur.__all__ if getattr(secateur, name)} == set(secateur.__all__)
    assert secateur.RunSpec is RunSpec
    with pytest.raises(AttributeError, match="no attribute 'runs'"):
        secateur.runs  # type: ignore[attr-defined] # noqa: B018


@pytest.mark.slow
def test_the_example_gives_what_the_command_line_gives(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, ROOT / "docs" / "from_python.py", *TINY], cwd=tmp_path, capture_output=True,
                          text=True, check=True)  # fmt: skip
    code = "from secateur.cli import main; main()"
    asked = ["run", "+study=quickstart", "schedule=one_shot", *TINY, "scope.round_to=16", "name=from_python",
             "tracking=none", "outputs=other"]  # fmt: skip
    subprocess.run([sys.executable, "-c", code, *asked], cwd=tmp_path, capture_output=True, check=True)

    here, there = (report_in(tmp_path / outputs) for outputs in ("outputs", "other"))
    assert "× as fast, mask mAP" in done.stdout
    assert [file["sha256"] for file in here["candidates"]] == [file["sha256"] for file in there["candidates"]]
    assert here["rungs"] == there["rungs"]
    assert here["baseline"] == there["baseline"]


def report_in(outputs: Path) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads((outputs / "latest" / "report.json").read_text())
    return plain
