"""MLflow's own pages of a sweep, in a browser: what they show is what the reports say."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from secateur.reporting.html import render
from secateur.results import Candidate, RunReport
from tests.adapters.servers import free_port, secateur_ui
from tests.example_report import finished
from tests.example_tracking import log_live, of_job, parents, write_folder, write_plan

CHROMIUM = shutil.which("chromium")
sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: apt-get install chromium"),
    pytest.mark.slow,
]

TARGETS = (0.3, 0.45, 0.6)

ABSENT = "/ajax-api/2.0/mlflow/users/current"
"""Which user is logged in: MLflow's pages ask it of every server, and one without logins says 404."""

LATE = "ResizeObserver loop completed with undelivered notifications."
"""What Chromium says where MLflow's table sizes itself while it is drawn: it is drawn one frame later."""

UNSIZED = re.compile(
    r"Error: <[\w-]+> attribute [\w-]+: (Expected (number|length), .*NaN|A negative value is not valid)"
)
"""What Chromium says where MLflow draws a chart before it knows how large: it is drawn again once it does."""

SHOWN = ("final/mask_map50_95", "final/latency_ms_p50", "final/speedup", "final/size_mb")


@dataclass
class Pages:
    """A server as `secateur ui` starts it, a browser, and what went wrong on the page that is open."""

    browser: Any
    home: str
    addresses: dict[str, str]
    """By what `secateur ui` calls them."""
    experiment: str
    runs: list[str]
    reports: list[dict[str, Any]]
    faults: list[str] = field(default_factory=list)

    def open(self, address: str) -> Any:
        """In place of the page that was open."""
        for context in self.browser.contexts:
            context.close()
        self.faults.clear()
        page = self.browser.new_page(viewport={"width": 2600, "height": 1000})
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", self._hear)
        page.goto(address)
        return page

    def run(self, number: int, artifact: str) -> Any:
        return self.open(f"{self.home}/#/experiments/{self.experiment}/runs/{self.runs[number]}/artifacts/{artifact}")

    def _hear(self, message: Any) -> None:
        known = message.location["url"].endswith(ABSENT) or message.text.endswith(LATE) or UNSIZED.match(message.text)
        if message.type == "error" and not known:
            self.faults.append(message.text)


def job(folder: Path, number: int) -> RunReport:
    """A job of the sweep: the further it prunes, the faster, smaller and worse."""
    report = of_job(folder, number, finished())
    spec = report.spec | {"schedule": {**report.spec["schedule"], "target": TARGETS[number]}}
    return replace(report, spec=spec, candidates=tuple(varied(found, number) for found in report.candidates))


def varied(found: Candidate, number: int) -> Candidate:
    if not found.name.startswith("pruned"):
        return found
    mask, time = found.accuracy.mask_map50_95, found.latency
    assert mask is not None
    speedup = replace(time.speedup, median=time.speedup.median + 0.04321 * number)
    return replace(
        found,
        accuracy=replace(found.accuracy, mask_map50_95=mask - 0.012345 * number),
        latency=replace(time, ms=replace(time.ms, p50=time.ms.p50 - 1.36789 * number), speedup=speedup),
        size_bytes=found.size_bytes - 123_456 * number,
    )


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    place = tmp_path_factory.mktemp("pages")
    uri, sweep, port = f"sqlite:///{place / 'mlflow.db'}", place / "sweeps" / "night", free_port()
    write_plan(sweep, TARGETS)
    runs = []
    for number in range(len(TARGETS)):
        report, run_dir = job(sweep, number), sweep / str(number)
        write_folder(run_dir, report)
        (run_dir / "report.html").write_text(render(report), encoding="utf-8")
        runs.append(log_live(uri, run_dir, report))
    (parent,) = parents(uri)
    reports = [json.loads((sweep / str(number) / "report.json").read_text()) for number in range(len(TARGETS))]
    with secateur_ui(uri, place, port), sync_api.sync_playwright() as playwright:
        addresses = dict(re.findall(r"(Open|Table) +(http\S+)", (place / "server.log").read_text()))
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        home = f"http://127.0.0.1:{port}"
        yield Pages(browser, home, addresses, parent.info.experiment_id, runs, reports)
        browser.close()


def final(report: dict[str, Any]) -> dict[str, float]:
    """What report.json says of what would ship, by MLflow's names."""
    found = next(file for file in report["candidates"] if file["name"] == report["selected"])
    return dict(
        zip(
            SHOWN,
            (
                found["mask_map50_95"],
                found["latency_ms"]["p50"],
                found["speedup"]["median"],
                found["size_bytes"] / 1e6,
            ),
            strict=True,
        )
    )


def same(shown: str, value: float) -> bool:
    """To the digits that are shown, which are three or more of those there are."""
    decimals = len(shown.partition(".")[2])
    enough = len(shown.replace(".", "").lstrip("0")) >= 3 or float(shown) == value
    return enough and float(shown) == pytest.approx(value, abs=0.5 * 10**-decimals + 1e-12)


def table_row(page: Any, name: str) -> Any:
    return page.locator(".ag-row").filter(has_text=name)


def test_the_children_of_the_sweep_stand_under_it(pages: Pages) -> None:
    page = pages.open(f"{pages.home}/#/experiments/{pages.experiment}/runs")
    parent = table_row(page, "night")
    parent.wait_for()
    assert page.locator(".ag-center-cols-container .ag-row").count() == 1

    parent.get_by_role("button").first.click()

    for number, target in enumerate(TARGETS):
        table_row(page, f"demo {number} schedule.target={target}").wait_for()
    assert pages.faults == []


def test_the_table_of_runs_shows_what_the_reports_say_the_fastest_first(pages: Pages) -> None:
    page = pages.open(pages.addresses["Table"])
    lines = page.locator(".ag-center-cols-container .ag-row")
    lines.nth(len(TARGETS) - 1).wait_for()

    for report, target in zip(pages.reports, TARGETS, strict=True):
        index = table_row(page, f"schedule.target={target}").first.get_attribute("row-index")
        line = page.locator(f".ag-row[row-index='{index}']")
        assert index == str(TARGETS[::-1].index(target))
        assert line.locator("[col-id='params.`schedule.target`']").inner_text() == str(target)
        for name, value in final(report).items():
            assert same(line.locator(f"[col-id='metrics.`{name}`']").inner_text(), value), name
    assert lines.count() == len(TARGETS)
    assert pages.faults == []


def test_the_charts_begin_with_what_was_asked_and_what_came_of_it(pages: Pages) -> None:
    page = pages.open(f"{pages.addresses['Table']}&compareRunsMode=CHART")

    axes = page.locator(".parcoords, .wrapper-plot svg").first
    axes.wait_for()

    told = page.inner_text("main")
    assert told.index("side by side") < told.index("candidate/")
    assert pages.faults == []


def test_the_comparison_shows_what_the_reports_say(pages: Pages) -> None:
    page = pages.open(pages.addresses["Open"])
    page.get_by_text("Comparing 3 Runs from 1 Experiment").wait_for()

    page.get_by_text("Show diff only").nth(1).click()
    grid = page.locator(".ReactVirtualized__Grid__innerScrollContainer")
    for name in SHOWN:
        label = grid.get_by_role("link", name=name, exact=True).locator("..")
        label.wait_for()
        top = re.search(r" top: \d+px", label.get_attribute("style"))
        assert top
        cells = grid.locator(f"div[style*='{top[0]};']:not(:has(a))").all_inner_texts()
        for shown, report in zip(cells, pages.reports, strict=True):
            assert same(shown, final(report)[name]), name
    assert pages.faults == []


def test_a_runs_report_is_shown_among_its_files_as_a_page(pages: Pages) -> None:
    page = pages.run(2, "report.html")

    shown = page.frame_locator("iframe")
    shown.get_by_role("region", name="Candidates").wait_for()

    selected = final(pages.reports[2])
    assert shown.get_by_text(f"{selected['final/latency_ms_p50']:.1f} ms").first.is_visible()
    assert shown.locator("svg.chart").first.is_visible()
    assert pages.faults == []


def test_a_runs_numbers_are_shown_among_its_files_as_they_were_written(pages: Pages) -> None:
    page = pages.run(2, "report.json")

    text = page.locator("pre").filter(has_text='"candidates"')
    text.wait_for()

    assert json.loads(text.inner_text()) == pages.reports[2]
    assert pages.faults == []
