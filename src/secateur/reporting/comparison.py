"""Runs side by side, from their report.json alone."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from secateur.errors import SpecError
from secateur.manifest import Timed, devices_of
from secateur.results import Fingerprint

Report = dict[str, Any]

ASKED_WIDTH = 32


def find(places: Iterable[Path]) -> list[Path]:
    """The report.json files at or below these folders, oldest first; raises SpecError where there is none."""
    places = list(places)
    reports = {report.resolve() for place in places for report in place.rglob("report.json")}
    found = [report for report in reports if "mlflow-artifacts" not in report.parts]  # MLflow's copies
    if not found:
        raise SpecError(f"no finished run below {', '.join(map(str, places))}; do one: secateur run +study=quickstart")
    return sorted(found, key=lambda path: (path.stat().st_mtime, path))


def comparison(paths: Iterable[Path]) -> RenderableType:
    """A line a run: what it selected, and what that costs and scores; a table a device, since latencies of two devices
    are never compared, those included that measured a bundle of a run; below, why others failed."""
    reports = {path: json.loads(path.read_text()) for path in paths}
    timed = [seen for path, report in reports.items() if report["device"] for seen in _everywhere(path, report)]
    devices = list(dict.fromkeys(map(_device, timed)))
    tables = [_table([report for report in timed if _device(report) == device]) for device in devices]
    if len(devices) > 1:
        for table, device in zip(tables, devices, strict=True):
            table.title = Text(device)
    broken = [report["run"] for report in reports.values() if report["run"]["error"]]
    return Group(*tables, *map(_ending, broken))


def _ending(run: Report) -> Text:
    """Why a run did not come to its end; that of a search that was stopped early is no fault."""
    return Text(f"{run['id']} {run['status']}: {run['error']}", style="dim" if run["status"] == "stopped" else "red")


def _everywhere(path: Path, report: Report) -> list[Report]:
    """The run as it was measured where it was done, and as each device did that timed what it ships."""
    found = ((each.device, each.models.get(report["selected"])) for each in devices_of(path.parent).values())
    return [report, *(_on(device, of.latency, report) for device, of in found if of and of.latency)]


def _on(device: Fingerprint, latency: Timed, report: Report) -> Report:
    """The run with what a device found out about the file that it ships."""
    figures = {"latency_ms": asdict(latency.ms), "speedup": asdict(latency.speedup), "batch": latency.batch}
    candidates = [c | figures for c in report["candidates"] if c["name"] == report["selected"]]
    run = report["run"] | {"id": f"{report['run']['id']} (its bundle)"}  # which may be timed where the run was
    return report | {"run": run, "device": asdict(device), "candidates": candidates}


def _device(report: Report) -> str:
    """All of the fingerprint, in one line."""
    device = report["device"]
    facts = [device["processor"], f"{device['cores']} cores", device["machine"], device["system"]]
    return ", ".join([*facts, *filter(None, [device.get("governor")]), *device["flags"]])


def _table(reports: list[Report]) -> Table:
    """With what was asked of each and not of all."""
    asked = _asked(reports)
    table = Table(title_justify="left", title_style="", box=None, header_style="bold", pad_edge=False)
    table.add_column("run", overflow="fold")
    if any(asked):
        table.add_column("asked", overflow="fold", max_width=ASKED_WIDTH)
    table.add_column("ships", overflow="fold")
    for name in ("params", "MACs", "box", "mask", "MB", "p50 ms", "speed-up"):
        table.add_column(name, justify="right", no_wrap=True)
    for report, differs in zip(reports, asked, strict=True):
        table.add_row(Text(report["run"]["id"]), *([Text(differs)] if any(asked) else []), *_figures(report))
    return table


def _asked(reports: list[Report]) -> list[str]:
    """Of each run's overrides, those that not all have."""
    overrides = [shlex.split(report["run"]["command"])[2:] for report in reports]
    common = set.intersection(*map(set, overrides))
    return [" ".join(override for override in each if override not in common) for each in overrides]


def _figures(report: Report) -> list[str]:
    chosen = next(c for c in report["candidates"] if c["name"] == report["selected"])
    return [chosen["name"], *_measured(chosen)]


def _measured(chosen: Report) -> list[str]:
    mask, speedup, batch = chosen["mask_map50_95"], chosen["speedup"], chosen.get("batch", 1)
    return [
        f"{chosen['params'] / 1e6:.2f} M",
        f"{chosen['macs'] / 1e9:.2f} G",
        f"{chosen['box_map50_95']:.3f}",
        "–" if mask is None else f"{mask:.3f}",
        f"{chosen['size_bytes'] / 1e6:.1f}",
        f"{chosen['latency_ms']['p50']:.1f}" + (f" (batch {batch})" if batch != 1 else ""),
        f"{speedup['median']:.2f}× ({speedup['low']:.2f}–{speedup['high']:.2f})",
    ]
