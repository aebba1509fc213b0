"""What MLflow calls the values of a report."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from secateur.adapters.tracking.parents import STUDY
from secateur.manifest import OnDevice
from secateur.records import SEARCHES
from secateur.reporting.summary import Setting, flatten, typed


def ladder(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The rungs, with the baseline as rung 0."""
    baseline = summary["baseline"]
    if baseline is None:
        return list(summary["rungs"])
    return [{"rung": 0, **baseline, "pruned": baseline, "tuned": baseline}, *summary["rungs"]]


def rung_metrics(rung: Mapping[str, Any]) -> dict[str, float | None]:
    """`rung/…`: millions of parameters, G MACs, and mAP50-95 as it was tuned, `rung/pruned_…`, as it was pruned, and,
    `rung/undone_…`, as a training left it that was undone."""
    undone = rung.get("undone")
    return {
        **_footprint_metrics("rung", rung),
        **accuracy_metrics("rung/", rung["tuned"]),
        **accuracy_metrics("rung/pruned_", rung["pruned"]),
        **(accuracy_metrics("rung/undone_", undone) if undone else {}),
    }


def candidate_metrics(group: str, candidate: Mapping[str, Any]) -> dict[str, float | None]:
    """`<group>/…` of a file: millions of parameters, G MACs, MB, mAP50-95, its change against the unpruned FP32's,
    times in ms, speed-ups, pictures a second, seconds to load and MB of memory."""
    return {
        **_footprint_metrics(group, candidate),
        **accuracy_metrics(f"{group}/", candidate),
        **_change_metrics(f"{group}/box_map50_95_change", candidate.get("box_map50_95_change")),
        **_change_metrics(f"{group}/mask_map50_95_change", candidate.get("mask_map50_95_change")),
        f"{group}/size_mb": candidate["size_bytes"] / 1e6,
        **_latency_metrics(group, candidate["latency_ms"], candidate.get("end_to_end_ms"), candidate),
    }


def device_metrics(group: str, found: OnDevice) -> dict[str, float | None]:
    """Of a file that failed its self-test there is no latency."""
    worst = max((value for value in found.check.deviations.values() if value is not None), default=None)
    tested = {f"{group}/self_test_deviation": worst, f"{group}/self_test_passed": float(found.check.fault is None)}
    if found.latency is None:
        return tested
    timed = asdict(found.latency)
    return tested | _latency_metrics(group, timed["ms"], (timed["end_to_end"] or {}).get("ms"), timed)


def _latency_metrics(
    group: str, ms: Mapping[str, float], whole_ms: Mapping[str, float] | None, told: Mapping[str, Any]
) -> dict[str, float | None]:
    """What older reports do not tell is None."""
    return {
        f"{group}/latency_ms_p50": ms["p50"],
        f"{group}/latency_ms_p95": ms["p95"],
        f"{group}/speedup": told["speedup"]["median"],
        f"{group}/speedup_low": told["speedup"]["low"],
        f"{group}/speedup_high": told["speedup"]["high"],
        **{f"{group}/{name}": told.get(name) for name in ("images_per_second", "load_seconds", "peak_memory_mb")},
        f"{group}/end_to_end_ms_p50": (whole_ms or {}).get("p50"),
    }


def _footprint_metrics(group: str, values: Mapping[str, Any]) -> dict[str, float | None]:
    return {f"{group}/params_m": values["params"] / 1e6, f"{group}/macs_g": values["macs"] / 1e9}


def accuracy_metrics(prefix: str, values: Mapping[str, Any]) -> dict[str, float | None]:
    """mAP50-95 of boxes and of masks, `prefix` before the names; None for the masks of a detector."""
    return {f"{prefix}{name}": values[name] for name in ("box_map50_95", "mask_map50_95")}


def _change_metrics(name: str, found: Mapping[str, float] | None) -> dict[str, float | None]:
    """None for the unpruned FP32, and in reports that are older than this."""
    return {name: found["observed"], f"{name}_low": found["low"], f"{name}_high": found["high"]} if found else {}


def header_tags(header: Mapping[str, Any], run_dir: Path) -> dict[str, Setting]:
    """What runs can be told apart by from their start."""
    kind = "search" if run_dir.absolute().parent.parent.name == SEARCHES else "sweep"
    many = header["id"].rpartition("/")[0]
    studies = [word.partition("=")[2] for word in shlex.split(header["command"]) if STUDY.match(word)]
    groups = ({kind: many} if many else {}) | ({"study": studies[-1]} if studies else {})
    source = {"mlflow.source.name": "secateur", "mlflow.source.type": "LOCAL"}
    commit = {"mlflow.source.git.commit": header["git"]} if header["git"] else {}
    versions = flatten({"versions": header["versions"]})
    return {"command": header["command"], **versions, **groups, **source, **commit}


def summary_tags(summary: Mapping[str, Any]) -> dict[str, Setting]:
    """What the run's page shows on top, and what runs can be told apart by."""
    run = summary["run"]
    told = {name: run[name] for name in ("command", "git", "error")} | {
        name: summary[name] for name in ("selected", "why")
    }
    nested = {"versions": run["versions"], "dataset": summary["dataset"] or {}, "device": summary["device"] or {}}
    tags = told | flatten(nested) | {"mlflow.note.content": summary["headline"]}
    return {name: value for name, value in tags.items() if value is not None}


def data_set(summary: Mapping[str, Any]) -> dict[str, Any] | None:
    """Its name, where it comes from, the sha256 of its pictures and labels, and how many pictures each split has; None
    where the run did not come to know it."""
    told, spec = summary["dataset"], summary["run"]["spec"].get("dataset") or {}
    if not told:
        return None
    name = told.get("name") or spec.get("name") or "dataset"
    return {
        "name": name,
        "source": str(spec.get("root") or name),
        "digest": told.get("digest") or told["data"],
        "train": told.get("train_images", told.get("train")),
        "val": told.get("val_images", told.get("val")),
    }


def plain_tags(values: Mapping[str, Any]) -> dict[str, str]:
    """Those that are known, as one would type them."""
    return {name: typed(value) for name, value in values.items() if value is not None}
