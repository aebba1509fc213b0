"""A finished run's folder with model files that run: two small nets that take a picture to boxes and scores."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from secateur.manifest import Check, DeviceReport, OnDevice, Timed
from secateur.reporting.summary import report_dict
from secateur.results import BASELINE, Artifact, Candidate, Fingerprint, Interval, Percentiles, RunReport
from tests.example_report import detector

IMGSZ, NAMES = 64, ("cat", "dog")
ID = "20261125-120000-000001_demo"
TENSOR = onnx.TensorProto.FLOAT


def write_run(folder: Path) -> Path:
    """The run's folder below `folder`/runs; its command and settings name places of this machine."""
    run_dir = folder / "runs" / ID
    (run_dir / "models").mkdir(parents=True)
    report = detector()
    candidates = tuple(_with_file(candidate, run_dir, seed) for seed, candidate in enumerate(report.candidates))
    (run_dir / "records.jsonl").write_text("")
    write_report(run_dir, replace(report, id=ID, candidates=candidates))
    return run_dir


def write_report(run_dir: Path, report: RunReport) -> None:
    runtime = {"name": "onnxruntime", "threads": 1, "provider": "CPUExecutionProvider", "round_to": 8}
    dataset = {"name": "yolo_folder", "root": "/home/ann/cats"}
    spec = {**report.spec, "imgsz": IMGSZ, "runtime": runtime, "dataset": dataset, "outputs": "/home/ann/out"}
    command = "secateur run name=demo dataset.root=/home/ann/cats tracking.uri=http://ann:secret@host"
    told = replace(report, spec=spec, command=command, dataset={"data": "ab", "names": list(NAMES)})
    (run_dir / "report.json").write_text(json.dumps(report_dict(told, run_dir)))


def _with_file(candidate: Candidate, run_dir: Path, seed: int) -> Candidate:
    path = run_dir / "models" / f"{candidate.name}.onnx"
    onnx.save(net(seed), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return replace(candidate, model=Artifact(path, digest), size_bytes=path.stat().st_size)


def net(seed: int) -> onnx.ModelProto:
    """(1, 3, 64, 64) to (1, 4 + 2, 64): a box of 20 px around each place, and how bright and how colourful it is."""
    rng = np.random.default_rng(seed)
    weights = {
        "box_weight": np.zeros((4, 3, 8, 8), np.float32) + 0.02,
        "box_bias": np.array([32, 32, 20, 20], np.float32),
        "score_weight": rng.normal(0, 0.3, (2, 3, 8, 8)).astype(np.float32),
        "shape": np.array([1, 6, 64]),
    }
    nodes = [
        helper.make_node("Conv", ["images", "box_weight", "box_bias"], ["boxes"], strides=[8, 8]),
        helper.make_node("Conv", ["images", "score_weight"], ["logits"], strides=[8, 8]),
        helper.make_node("Sigmoid", ["logits"], ["scores"]),
        helper.make_node("Concat", ["boxes", "scores"], ["both"], axis=1),
        helper.make_node("Reshape", ["both", "shape"], ["output0"]),
    ]
    images = helper.make_tensor_value_info("images", TENSOR, (1, 3, IMGSZ, IMGSZ))
    output = helper.make_tensor_value_info("output0", TENSOR, (1, 6, 64))
    initial = [numpy_helper.from_array(values, name) for name, values in weights.items()]
    graph = helper.make_graph(nodes, "boxes", [images], [output], initial)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    names = dict(enumerate(NAMES))
    helper.set_model_props(made, {"task": "detect", "names": str(names), "imgsz": str([IMGSZ, IMGSZ]), "stride": "8"})
    return made


def device_report(p50: float = 80.0) -> DeviceReport:
    """What a board found out about the bundle of that run."""
    return DeviceReport(
        format=1,
        secateur="0.1.0",
        created="2026-11-26T08:00:00+00:00",
        run_id=ID,
        bundle="ef" * 32,
        device=Fingerprint("Raspberry Pi 5 Model B", "Cortex-A76", 4, ("asimddp",), "Linux 6.6 aarch64"),
        versions={"python": "3.13.1"},
        selected="pruned-int8_static",
        reference=BASELINE,
        imgsz=IMGSZ,
        models={
            "pruned-int8_static": OnDevice("onnxruntime", Check({"scores": 0.07}, 0.2), _timed(p50 / 2, 2.0)),
            BASELINE: OnDevice("onnxruntime", Check({"scores": 0.001}, 0.05), _timed(p50, 1.0)),
        },
    )


def _timed(p50: float, speedup: float) -> Timed:
    ms, around = Percentiles(p50, p50 + 1, p50 + 2, p50 + 9), Interval(speedup, speedup - 0.1, speedup + 0.1)
    return Timed(ms, around, 5, "1.32.0", 4, 1, 1000 / p50, 0.4, 120.0)
