import re
from html.parser import HTMLParser

import pytest
from rich.console import Console

from secateur.reporting.sensitivity import (
    Axis,
    change,
    headline,
    page,
    plot,
    round_step,
    rows,
    share,
    table,
    to_csv,
)
from secateur.results import Sensitivity

FOUND = Sensitivity(
    ratios=(0.25, 0.5, 0.75),
    drops={
        "model.0.conv": (0.0004, -0.0024, 0.0020),
        "model.1.conv": (0.0310, 0.1000, 0.2500),  # mean 0.127
        "model.4.cv1.conv": (0.0100, 0.0200, 0.3000),  # mean 0.110, though it loses most at the last ratio
    },
)


class Cells(HTMLParser):
    """The table's rows as text."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.inside = False

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.inside = tag in ("td", "th")
        if tag == "tr":
            self.rows.append([])

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.rows[-1].append(data)


def piped(limit: int | None = None) -> list[str]:
    console = Console(width=80, force_terminal=False)
    with console.capture() as capture:
        console.print(table(FOUND, limit))
    return capture.get().splitlines()


def test_what_costs_most_on_average_comes_first() -> None:
    assert [row.group for row in rows(FOUND)] == ["model.1.conv", "model.4.cv1.conv", "model.0.conv"]


def test_the_headline_names_what_costs_most_and_counts_what_costs_little() -> None:
    assert headline(FOUND) == (
        "On average over the ratios, model.1.conv (−0.127) and model.4.cv1.conv (−0.110) cost most mAP50-95; "
        "1 of 3 groups costs less than 0.005 at every ratio."
    )


def test_the_headline_blames_nobody_where_nothing_is_lost() -> None:
    assert headline(Sensitivity((0.5,), {"model.0.conv": (-0.01,)})) == (
        "No group costs mAP50-95 on average over the ratios; 1 of 1 groups costs less than 0.005 at every ratio."
    )


def test_the_csv_holds_what_is_lost_in_the_order_of_the_net() -> None:
    assert to_csv(FOUND) == (
        "group,0.25,0.5,0.75\n"
        "model.0.conv,0.0004,-0.0024,0.0020\n"
        "model.1.conv,0.0310,0.1000,0.2500\n"
        "model.4.cv1.conv,0.0100,0.0200,0.3000\n"
    )


@pytest.mark.parametrize(("drop", "text"), [(0.0312, "−0.031"), (-0.0021, "+0.002"), (0.0004, "±0.000"), (0, "±0.000")])
def test_losses_and_gains_have_their_sign(drop: float, text: str) -> None:
    assert change(drop) == text


@pytest.mark.parametrize(("ratio", "text"), [(0.25, "−25 %"), (0.07, "−7 %"), (0.125, "−12.5 %")])
def test_ratios_are_told_in_percent(ratio: float, text: str) -> None:
    assert share(ratio) == text


def test_the_terminal_gets_a_line_a_group() -> None:
    lines = [line.split() for line in piped()]

    assert ["group", "−25", "%", "−50", "%", "−75", "%", "mean"] in lines
    assert ["model.1.conv", "−0.031", "−0.100", "−0.250", "−0.127"] in lines
    assert ["model.0.conv", "±0.000", "+0.002", "−0.002", "±0.000"] in lines
    assert not any("more" in line for line in lines)


def test_a_limited_table_tells_how_many_are_left_out() -> None:
    lines = piped(limit=1)

    assert "2 more, which cost less, are in the file." in lines
    assert not any(line.startswith("model.4") for line in lines)


def test_the_page_has_each_group_in_its_table() -> None:
    cells = Cells()
    cells.feed(page(FOUND, {}))

    assert cells.rows == [
        ["group", "−25 %", "−50 %", "−75 %", "mean"],
        ["model.1.conv", "−0.031", "−0.100", "−0.250", "−0.127"],
        ["model.4.cv1.conv", "−0.010", "−0.020", "−0.300", "−0.110"],
        ["model.0.conv", "±0.000", "+0.002", "−0.002", "±0.000"],
    ]


def test_the_page_needs_no_network() -> None:
    assert not re.search(r"http|<script|@import|url\(", page(FOUND, {"criterion": "magnitude"}))


def test_facts_are_told_and_cannot_break_the_page() -> None:
    shown = page(FOUND, {"criterion": "<b>magnitude"})

    assert "<dt>criterion</dt><dd>&lt;b&gt;magnitude</dd>" in shown


def test_groups_are_drawn_in_the_order_of_the_net_with_loss_to_the_right() -> None:
    drawn = plot(FOUND, width=940, pitch=17)

    assert [line.name for line in drawn.lines] == list(FOUND.drops)
    assert drawn.lines[1].y - drawn.lines[0].y == 17
    assert list(drawn.lines[1].marks) == sorted(drawn.lines[1].marks)
    assert [tick.text for tick in drawn.ticks] == ["0", "−0.1", "−0.2", "−0.3"]


def test_gains_lie_left_of_zero() -> None:
    drawn = plot(Sensitivity((0.5,), {"model.0.conv": (-0.03,), "model.1.conv": (0.02,)}), width=420, pitch=20)

    assert [tick.text for tick in drawn.ticks] == ["+0.02", "0", "−0.02"]
    assert drawn.lines[0].marks[0] < drawn.axis.at(0) < drawn.lines[1].marks[0]


def test_a_net_that_loses_nothing_is_drawn_too() -> None:
    assert "model.0.conv" in page(Sensitivity((0.5,), {"model.0.conv": (0.0,)}), {})


@pytest.mark.parametrize(("step", "rounded"), [(0.013, 0.02), (1.0, 1.0), (13.2, 20.0), (6.0, 10.0)])
def test_ticks_step_by_round_numbers(step: float, rounded: float) -> None:
    assert round_step(step) == pytest.approx(rounded)


def test_ticks_lie_within_the_axis() -> None:
    axis = Axis(0.29, 0.36, 300, 0)

    assert [tick.text for tick in axis.ticks()] == ["0.30", "0.32", "0.34", "0.36"]
    assert axis.ticks()[-1].at == 0
