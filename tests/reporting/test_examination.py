from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from secateur.examination import (
    Conversions,
    Examination,
    Fallback,
    Finding,
    ModelFile,
    NodeTime,
    OutputCheck,
    Profile,
    TensorRange,
)
from secateur.reporting.examination import as_text, tables

NODES = (NodeTime("conv", "Conv", 6.0), NodeTime("act", "Sigmoid", 1.0), NodeTime("conv2", "Conv", 3.0))
SILUS = Finding("float_islands", "slow", "65 SiLU in float between quantized operators", "quantization=int8_static")
SCORES = Finding("outputs", "wrong", "output0 has constant scores", "do not ship it")


@pytest.fixture
def examined() -> Examination:
    return Examination(
        file=ModelFile(Path("m.onnx"), 3_900_000, 18, "onnx.quantize 0.1.0", (1, 3, 640, 640), "segment", 80, 640, 437),
        data=None,
        pictures=2,
        flags=("avx2", "avx512_vnni"),
        profile=Profile("onnxruntime", "1.32.0", 2, 20, 12.5, NODES),
        conversions=Conversions(498, 1.0, 0.1, 125, (Fallback("SiLU", 65, 1.0, 0.1),)),
        ranges=(TensorRange("all", 0, 637.5, 2.5, "0.4 levels are left"),),
        outputs=(OutputCheck("output0", (1, 116, 8400), 0.0, 640.0, 0.0, "has constant scores"),),
        findings=(SCORES, SILUS),
    )


def piped(found: Examination, width: int) -> list[str]:
    console = Console(width=width, force_terminal=False)
    with console.capture() as capture:
        console.print(tables(found))
    return [line.rstrip() for line in capture.get().splitlines()]


@pytest.mark.parametrize("width", [100, 140])
def test_operators_are_summed_and_shares_are_of_all_nodes(width: int, examined: Examination) -> None:
    rows = [line.split() for line in piped(examined, width)]

    assert ["Conv", "2", "9.00", "90.0", "%"] in rows
    assert ["Sigmoid", "1", "1.00", "10.0", "%"] in rows
    assert ["conv", "Conv", "6.00", "60.0", "%"] in rows
    assert ["SiLU", "65", "1.00", "10.0", "%"] in rows


def test_what_is_wrong_comes_before_what_is_slow_each_with_its_remedy(examined: Examination) -> None:
    lines = piped(examined, 100)

    found = [line for line in lines if line.startswith(("Why", "•", "→"))]
    assert found == [
        "Why it is wrong", f"• {SCORES.text}", f"→ {SCORES.remedy}",
        "Why it is slow", f"• {SILUS.text}", f"→ {SILUS.remedy}",
    ]  # fmt: skip


def test_a_file_without_findings_says_so(examined: Examination) -> None:
    assert "Nothing was found that makes it slow or wrong." in piped(replace(examined, findings=()), 100)


def test_many_operators_end_in_a_sum_of_the_rest(examined: Examination) -> None:
    nodes = tuple(NodeTime(f"n{at}", f"Op{at}", 20.0 - at) for at in range(13))

    rows = [line.split() for line in piped(replace(examined, profile=replace(examined.profile, nodes=nodes)), 100)]

    assert ["3", "others", "3", "27.00", "14.8", "%"] in rows  # 10 + 9 + 8 of 20 + 19 + … + 8 = 182


def test_the_json_holds_every_node_and_the_sums(examined: Examination) -> None:
    told = json.loads(as_text(examined))

    assert told["file"]["path"] == "m.onnx"
    assert told["data"] is None
    assert [node["share"] for node in told["profile"]["nodes"]] == [0.6, 0.1, 0.3]
    assert told["profile"]["operators"][0] == {"operator": "Conv", "count": 2, "ms": 9.0, "share": 0.9}
    assert told["findings"][1] == {
        "check": "float_islands", "about": "slow", "text": SILUS.text, "remedy": "quantization=int8_static"
    }  # fmt: skip


def test_numbers_that_are_none_are_null_in_json(examined: Examination) -> None:
    nan = float("nan")

    told = json.loads(as_text(replace(examined, ranges=(TensorRange("all", nan, nan, nan, "its scale is nan"),))))

    assert told["ranges"][0]["step"] is None
