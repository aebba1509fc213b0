"""A search's outcome as a table: the trials that no other beats in both accuracy and time, and how to repeat each."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from secateur.fronts import Point, Report, chosen, front, points
from secateur.reporting.summary import ratio
from secateur.reporting.table import aligned, billions, millions, score

METHOD = (
    "ms of a picture: the unpruned FP32's at that size, median of all trials, over the trial's own paired speed-up; "
    "trials that others beat in both are left out."
)


def front_tables(reports: Mapping[int, Report]) -> RenderableType:
    """Of trials by their numbers; below, why others did not get to their end."""
    found = front(points(reports))
    unfinished = {number: report["run"] for number, report in reports.items() if report["run"]["error"]}
    endings = [Text(f"trial {n} {run['status']}: {run['error']}", style="dim") for n, run in unfinished.items()]
    if not found:
        return Group(Text("No trial is finished."), *endings)
    return Group(_front(found, reports), Text(METHOD, style="dim"), "", *_commands(found, reports), "", *endings)


def _front(found: list[Point], reports: Mapping[int, Report]) -> Table:
    columns = ("px", "params", "MACs", "box", "mask", "ms", "speed-up")
    table = aligned("The front: none of these is beaten in both mAP and time", "trial", "ships", *columns)
    for point in found:
        table.add_row(str(point.trial), *_figures(point, reports[point.trial]))
    return table


def _figures(point: Point, report: Report) -> list[str]:
    file = chosen(report)
    return [
        file["name"],
        str(file["imgsz"]),
        millions(file["params"]),
        billions(file["macs"]),
        score(file["box_map50_95"]),
        score(file["mask_map50_95"]),
        f"{point.latency_ms:.2f}",
        ratio(file["speedup"]["median"], 2),
    ]


def _commands(found: list[Point], reports: Mapping[int, Report]) -> list[Text]:
    """Each a line, however long, so that it can be copied."""
    told = [f"trial {point.trial}: {reports[point.trial]['run']['command']}" for point in found]
    return [Text(line, no_wrap=True, overflow="ignore") for line in told]
