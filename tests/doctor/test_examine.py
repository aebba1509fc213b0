"""The whole, through the command line: each a process of its own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from secateur.doctor.examine import examine
from secateur.errors import SpecError
from secateur.runtimes.onnxruntime import Onnxruntime
from tests.conftest import IMGSZ
from tests.doctor.conftest import changed

SECATEUR = Path(sys.executable).with_name("secateur")


def doctor(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [SECATEUR, "doctor", *arguments, "--threads", "1"]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=120, check=False)


def test_a_file_is_examined_on_the_pictures_of_a_data_yaml(
    convolutions_only: Path, shapes: Path, tmp_path: Path
) -> None:
    done = doctor(convolutions_only, "--data", shapes, "--json", folder=tmp_path)

    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert list(found) == [
        "file", "data", "pictures", "processor_flags", "findings", "profile", "conversions", "ranges", "outputs"
    ]  # fmt: skip
    assert (found["data"], found["pictures"]) == (str(shapes), 8)
    assert found["file"]["input_shape"] == [1, 3, IMGSZ, IMGSZ]
    assert sum(operator["share"] for operator in found["profile"]["operators"]) == pytest.approx(1)
    assert {"name", "operator", "ms", "share"} == found["profile"]["nodes"][0].keys()
    assert "float_islands" in {finding["check"] for finding in found["findings"]}
    assert [output["fault"] for output in found["outputs"]] == [None, None]
    assert list(tmp_path.iterdir()) == []


def test_what_is_wrong_is_told_first_and_the_command_succeeds(decode_too: Path, tmp_path: Path) -> None:
    done = doctor(decode_too, folder=tmp_path)

    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert lines.index("Why it is wrong") < lines.index("Time by operator, as the runtime runs the graph")
    assert "constant scores" in done.stdout
    assert "is joined with values of up to" in done.stdout.replace("\n", " ")


def test_a_truncated_file_is_an_error_of_one_line(seg_onnx: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.onnx").write_bytes(seg_onnx.read_bytes()[:-1000])

    done = doctor("cut.onnx", folder=tmp_path)

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("secateur: cannot read cut.onnx: ")
    assert done.stderr.count("\n") == 1


def test_an_opset_that_the_runtime_does_not_know_is_named(seg_onnx: Path, tmp_path: Path) -> None:
    net = onnx.load(seg_onnx)
    net.opset_import[0].version = 1000
    onnx.save(net, tmp_path / "new.onnx")

    done = doctor("new.onnx", folder=tmp_path)

    assert done.returncode == 2
    assert done.stderr.startswith("secateur: onnxruntime cannot run new.onnx, which says opset 1000; export it anew (")
    assert done.stderr.count("\n") == 1


def test_a_data_yaml_that_is_not_there_is_told(seg_onnx: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"cannot read .*gone\.yaml"):
        examine(seg_onnx, Onnxruntime(threads=1), tmp_path / "gone.yaml", seconds=0.1)


def test_pictures_of_a_data_yaml_are_refused_for_a_file_that_does_not_take_them(
    seg_onnx: Path, shapes: Path, tmp_path: Path
) -> None:
    def widen(net: onnx.ModelProto) -> None:
        net.graph.input[0].type.tensor_type.shape.dim[3].dim_value = IMGSZ + 32

    wanted = [1, 3, IMGSZ, IMGSZ + 32]

    with pytest.raises(SpecError, match=re.escape(f"takes {wanted}, where --data looks at square pictures")):
        examine(changed(seg_onnx, tmp_path / "other.onnx", widen), Onnxruntime(threads=1), shapes, seconds=0.1)
