"""The page in a real browser: what it loads, what its tables say, whom it shuts out."""

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from secateur.comparisons import Comparison, Run, compared, runs_in
from secateur.reporting.comparison_page import page as comparison_page
from secateur.reporting.html import render
from secateur.reporting.summary import report_dict
from secateur.results import RunReport
from tests.example_report import (
    detector,
    failed,
    finished,
    with_channels,
    with_classes,
    with_fault,
    with_layers,
    with_samples,
)

CHROMIUM = shutil.which("chromium")
sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: apt-get install chromium"),
    pytest.mark.slow,
]

HONEST = Path(__file__).parents[2] / "docs" / "example" / "honest"
"""A real sweep, whose files have long names in the charts."""

DESK, PHONE = {"width": 1000, "height": 900}, {"width": 390, "height": 844}


def many(count: int) -> Comparison:
    """Runs of a sweep, each pruned and scored a little differently, and one that failed."""
    runs = []
    for number in range(count):
        report = json.loads(json.dumps(report_dict(replace(finished(), id=f"sweep/{number}"))))
        for file in report["candidates"]:
            if file["name"].startswith("pruned"):
                file["sha256"] = f"{number}"
                file["speedup"] = {end: value * (1 + number / count) for end, value in file["speedup"].items()}
                file["mask_map50_95"] -= 0.1 * number / count + 0.01 * (number % 3)
        report["run"]["command"] += f" schedule.target={number / count:.3f}"
        runs.append(Run(report, f"/sweep/{number}"))
    return compared([*runs, Run(json.loads(json.dumps(report_dict(failed()))), "/sweep/x")], every=True)


def reported(report: Callable[[], RunReport]) -> Callable[[], str]:
    return lambda: render(report())


PAGES = {
    "finished": reported(finished),
    "failed": reported(failed),
    "detector": reported(detector),
    "faulty": reported(with_fault),
    "channels": reported(with_channels),
    "long names": lambda: comparison_page(compared(runs_in([HONEST]), every=True), "sweep", "secateur compare"),
    "classes": reported(with_classes),
    "many classes": lambda: render(with_classes(80)),
    "layers": reported(with_layers),
    "many layers": lambda: render(with_layers(76)),
    "sweep": lambda: comparison_page(many(20), "sweep", "secateur run -m schedule.target=0.1,0.2"),
}


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


def page_of(content: str, folder: Path) -> str:
    file = folder / "report.html"
    file.write_text(content, encoding="utf-8")
    return file.as_uri()


def row(page: object, table: str, name: str) -> dict[str, str]:
    """Cells by their column's head, of the row whose head ends with `name`."""
    found = page.get_by_role("region", name=table).locator("table")  # type: ignore[attr-defined]
    heads = found.locator("thead th").all_inner_texts()
    line = next(line for line in found.locator("tbody tr").all() if name in line.locator("th").inner_text())
    return dict(zip(heads, line.locator("th, td").all_inner_texts(), strict=True))


def number(cell: str) -> float:
    found = re.match(r"[\d.]+", cell)
    assert found, cell
    return float(found[0])


@pytest.mark.parametrize("kind", PAGES)
def test_the_page_says_nothing_in_the_console_and_asks_for_nothing(kind: str, browser: object, tmp_path: Path) -> None:
    page = browser.new_page(viewport=DESK)  # type: ignore[attr-defined]
    told: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))

    address = page_of(PAGES[kind](), tmp_path)
    page.goto(address)

    assert told == []
    assert asked == [address]


def test_the_tables_say_what_the_report_says(browser: object, tmp_path: Path) -> None:
    page = browser.new_page(viewport=DESK)  # type: ignore[attr-defined]
    page.goto(page_of(render(finished()), tmp_path))
    told = report_dict(finished(), None)

    for found in told["candidates"]:
        cells = row(page, "Candidates", found["name"])
        assert number(cells["mask mAP"]) == round(found["mask_map50_95"], 3)
        assert number(cells["box mAP"]) == round(found["box_map50_95"], 3)
        assert number(cells["p50 ms"]) == round(found["latency_ms"]["p50"], 1)
        assert number(cells["speed-up (95 %)"]) == pytest.approx(found["speedup"]["median"], abs=0.05)
        assert number(cells["MB"]) == round(found["size_bytes"] / 1e6, 1)
        assert number(cells["MACs"]) == round(found["macs"] / 1e9, 2)
        assert number(cells["params"]) == pytest.approx(found["params"] / 1e6, abs=0.005)
        times = row(page, "Time and memory", found["name"])
        assert number(times["p99"]) == round(found["latency_ms"]["p99"], 1)
    for found in told["rungs"]:
        cells = row(page, "Rungs", str(found["rung"]))
        assert number(cells["mask mAP, pruned"]) == round(found["pruned"]["mask_map50_95"], 3)
        assert cells["verdict"] == ("" if found["accepted"] else "rejected")


def test_the_table_of_many_runs_says_what_the_runs_say(browser: object, tmp_path: Path) -> None:
    found = many(20)
    (group,) = found.groups
    page = browser.new_page(viewport=DESK)  # type: ignore[attr-defined]
    page.goto(page_of(comparison_page(found, "sweep", "secateur compare"), tmp_path))

    lines = page.get_by_role("region", name="Files of group 1").locator("tbody tr")

    assert lines.count() == len(group.entries)
    assert lines.filter(has_text="●").count() == len(group.front)
    for line, entry in zip(lines.all(), group.entries, strict=True):
        cells = dict(
            zip(page.locator("thead th").all_inner_texts(), line.locator("th, td").all_inner_texts(), strict=True)
        )
        assert number(cells["mask"]) == round(entry.accuracy, 3)
        assert number(cells["p50 ms"]) == round(entry.p50_ms, 1)
    assert page.get_by_text(failed().error).is_visible()


def test_a_page_of_a_hundred_runs_is_small_and_soon_there() -> None:
    found = many(100)
    started = time.process_time()

    content = comparison_page(found, "sweep", "secateur compare")

    assert time.process_time() - started < 20
    assert len(content.encode()) < 5_000_000


@pytest.mark.parametrize(("viewport", "scheme"), [(DESK, "light"), (PHONE, "dark")], ids=["desk", "phone"])
@pytest.mark.parametrize("kind", PAGES)
def test_nobody_is_shut_out(kind: str, viewport: dict[str, int], scheme: str, browser: object, tmp_path: Path) -> None:
    page = browser.new_page(viewport=viewport)  # type: ignore[attr-defined]
    page.emulate_media(color_scheme=scheme)
    page.goto(page_of(PAGES[kind](), tmp_path))

    found = axe.Axe().run(page)

    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_the_page_is_no_wider_than_the_window(viewport: dict[str, int], browser: object, tmp_path: Path) -> None:
    page = browser.new_page(viewport=viewport)  # type: ignore[attr-defined]
    page.goto(page_of(render(with_fault()), tmp_path))

    assert page.evaluate("document.documentElement.scrollWidth") == viewport["width"]


def test_the_candidates_need_no_scrolling_on_a_desk(browser: object, tmp_path: Path) -> None:
    page = browser.new_page(viewport=DESK)  # type: ignore[attr-defined]
    page.goto(page_of(render(finished()), tmp_path))

    region = page.get_by_role("region", name="Candidates")

    assert region.evaluate("box => box.scrollWidth - box.clientWidth") == 0


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("kind", ["finished", "long names"])
def test_no_label_of_a_chart_lies_on_another(
    kind: str, viewport: dict[str, int], browser: object, tmp_path: Path
) -> None:
    page = browser.new_page(viewport=viewport)  # type: ignore[attr-defined]
    page.goto(page_of(PAGES[kind](), tmp_path))

    overlapping = page.evaluate(
        """() => [...document.querySelectorAll('svg.chart')].flatMap(svg => {
            const boxes = [...svg.querySelectorAll('text')]
                .map(text => [text.textContent, text.getBoundingClientRect()]).filter(([, box]) => box.width);
            return boxes.flatMap(([one, a], n) => boxes.slice(n + 1)
                .filter(([, b]) => a.left < b.right - 1 && b.left < a.right - 1)
                .filter(([, b]) => a.top < b.bottom - 4 && b.top < a.bottom - 4)
                .map(([other]) => one + ' / ' + other));
        })"""
    )

    assert overlapping == []


def test_the_table_of_classes_says_what_the_report_says(browser: object, tmp_path: Path) -> None:
    page = browser.new_page(viewport=DESK)  # type: ignore[attr-defined]
    page.goto(page_of(render(with_classes()), tmp_path))
    told = next(c for c in report_dict(with_classes(), None)["candidates"] if c["name"] == with_classes().selected)

    assert len(told["classes"]) == 4
    for found in told["classes"]:
        cells = row(page, "Which classes paid", found["name"])
        assert number(cells["objects"]) == found["objects"]
        assert number(cells["before"]) == round(found["before"], 3)
        assert number(cells["after"]) == round(found["after"], 3)


def test_the_table_of_layers_says_what_the_report_says(browser: object, tmp_path: Path) -> None:
    page = browser.new_page(viewport=DESK)  # type: ignore[attr-defined]
    page.goto(page_of(render(with_layers()), tmp_path))
    page.get_by_text("All 4 layers").click()
    told = next(c for c in report_dict(with_layers(), None)["candidates"] if c["name"] == with_layers().selected)

    assert len(told["layers"]) == 4
    for found in told["layers"]:
        cells = row(page, "What INT8 costs, layer by layer", found["name"])
        assert cells["its own, dB"] == as_told(found["own_sqnr_db"])
        assert cells["accumulated, dB"] == as_told(found["sqnr_db"])
        assert cells["kept in"] == ("float" if found["kept_float"] else "INT8")


def as_told(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.1f}".replace("-", "−")


def test_on_paper_the_table_of_channels_is_there(browser: object, tmp_path: Path) -> None:
    page = browser.new_page(viewport=DESK)  # type: ignore[attr-defined]
    page.goto(page_of(render(with_channels()), tmp_path))
    region = page.locator("details .scroll")

    assert not region.is_visible()
    page.emulate_media(media="print")
    assert region.is_visible()
    assert region.bounding_box()["height"] > 50


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_sample_pictures_are_in_the_page_and_say_what_was_found(
    viewport: dict[str, int], browser: object, tmp_path: Path
) -> None:
    page = browser.new_page(viewport=viewport)  # type: ignore[attr-defined]
    page.goto(page_of(render(with_samples(tmp_path)), tmp_path))
    told = report_dict(with_samples(tmp_path), None)["candidates"]

    pictures = page.get_by_role("img", name=re.compile("person|nothing"))

    wanted = sorted(f"{file['name']}: {sample['found']}" for file in told for sample in file["samples"])
    assert sorted(picture.get_attribute("alt") for picture in pictures.all()) == wanted
    assert all(picture.evaluate("image => image.naturalWidth") == 320 for picture in pictures.all())
    assert page.evaluate("document.documentElement.scrollWidth") == viewport["width"]
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
