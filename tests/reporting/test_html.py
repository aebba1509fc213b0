import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from secateur.reporting.html import render
from secateur.results import RunReport
from tests.example_report import (
    FAULT,
    LAYERS,
    detector,
    failed,
    finished,
    on_the_way,
    with_channels,
    with_classes,
    with_fault,
    with_layers,
    without_changes,
)

VOID = {"meta"}


class Nesting(HTMLParser):
    """Fails on a tag that is closed out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        """Nothing is left open."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize(
    "report", [finished(), failed(), detector(), without_changes()], ids=["finished", "failed", "detector", "unpaired"]
)
def test_the_page_is_whole_and_needs_no_network(report: RunReport) -> None:
    page = render(report)
    parser = Nesting()
    parser.feed(page)

    assert parser.open == []
    assert not re.search(r"https?://|<script|@import|url\(", page.replace('xmlns="http://www.w3.org/2000/svg"', ""))


def test_the_page_is_small() -> None:
    page = render(finished())

    assert len(page.encode()) < 100_000


def test_the_page_tells_how_to_repeat_the_run() -> None:
    page = render(finished())

    assert "git checkout 1a2b3c4\nsecateur run model=yolov8n-seg schedule.target=0.6" in page
    assert "<li>schedule.target=0.6</li>" in page
    assert "<li>finetune.cos_lr=true</li>" in page
    assert "Intel Xeon 8481C, 2 cores" in page


def test_the_page_says_how_speed_was_measured() -> None:
    assert "onnxruntime 1.23.2, 2 threads, 640 px, batch 1, 5 rounds" in render(finished())
    assert "never a ratio of MACs" in render(finished())


def test_accuracies_stand_with_what_they_differ_by() -> None:
    page = render(finished())
    small = '<small class="below">'

    assert f"<td>0.318{small}−0.033 (−0.041 to −0.025)</small></td>" in page
    assert f"<td>0.339{small}−0.011 (−0.024 to +0.003)</small>{small}no measurable difference</small></td>" in page
    assert "paired 95 % bootstrap interval over the validation pictures" in page
    assert "over the validation pictures" not in render(without_changes())


def test_a_candidate_with_a_fault_says_why_it_is_refused() -> None:
    assert f"refused: {FAULT}" in render(with_fault())
    assert "refused: " not in render(finished())


def test_names_cannot_break_the_page() -> None:
    assert "<b>demo" not in render(replace(finished(), name="<b>demo"))


def test_a_failed_run_shows_its_rungs_and_no_candidates() -> None:
    page = render(failed())

    assert "The run failed: finetune: no space left on device" in page
    assert "Rung by rung" in page
    assert "Candidates" not in page


def test_what_the_net_scored_before_the_first_rung_has_a_row_each() -> None:
    page = " ".join(render(on_the_way()).split())

    row = '<tr><th scope="row">{}</th><td></td><td></td><td></td><td></td><td>{}</td><td></td><td>{}</td><td></td></tr>'
    assert f"{row.format('sparse', '0.410', '0.350')} {row.format('swapped', '0.300', '0.220')}" in page


def test_a_run_that_failed_at_once_still_has_a_page() -> None:
    bare = replace(failed(), baseline=None, baseline_footprint=None, rungs=(), fingerprint=None, dataset=None, git=None)

    assert "The run failed" in render(bare)


def test_a_run_without_a_schedule_says_that_nothing_is_pruned() -> None:
    report = finished()

    page = render(replace(report, spec=report.spec | {"schedule": {"name": "none"}}, rungs=()))

    assert "<h2>Nothing is pruned</h2>" in page


def test_each_group_of_channels_has_a_row() -> None:
    row = '<tr><th scope="row">model.2.cv1.conv</th><td>20</td><td>32</td><td>−38 %</td></tr>'

    assert row in render(with_channels())
    assert "Channels kept" not in render(finished())


def test_classes_stand_by_what_they_changed_by_the_one_that_lost_most_first() -> None:
    page = render(with_classes())

    names = re.findall(r'<th scope="row">(person|zebra|cup|chair)</th>', page)
    assert names == ["cup", "person", "chair", "zebra"]
    row = "<td>34</td><td>20</td><td>0.300</td><td>0.180</td><td>−0.120 (−0.190 to −0.060)</td><td>differs</td>"
    assert f'<th scope="row">cup</th>{row}' in page
    assert "<td>−0.002 (−0.015 to +0.012)</td><td>does not differ</td>" in page
    assert "<td>+0.040 (+0.010 to +0.080)</td><td>too few pictures</td>" in page
    assert "Which classes paid" not in render(finished())


def test_of_many_classes_the_largest_changes_are_drawn_and_all_are_in_the_table() -> None:
    page = render(with_classes(80))

    assert page.count("class 40") == 1  # the table's
    assert page.count("class 79") > 1
    assert "drawn are the 10 that lost most and the 5 that gained most" in page


def test_where_the_unpruned_net_ships_the_best_pruned_file_tells_its_classes() -> None:
    kept = replace(with_classes(), selected="baseline-fp32")

    assert "mAP50-95 of pruned-fp32, class by class" in render(kept)


def test_layers_stand_in_the_order_they_run_in_with_the_way_to_spare_them() -> None:
    page = render(with_layers())

    names = re.findall(r'<th scope="row">(model[.0-9a-z]*)</th>', page)
    assert names == [layer.name for layer in LAYERS]
    assert '<th scope="row">model.4.cv2.conv</th><td>12.3</td><td>−1.5</td><td>INT8</td>' in page
    assert '<th scope="row">model.22.cv3.0.2</th><td>–</td><td>21.7</td><td>float</td>' in page
    assert "<code>quantization=int8_accuracy</code> keeps in float" in page
    assert "What INT8 costs" not in render(finished())


def test_where_the_gate_has_looked_already_nobody_is_pointed_to_it() -> None:
    report = with_layers()
    gated = (replace(c, quantization="int8_accuracy") for c in report.candidates)

    assert "quantization=int8_accuracy" not in render(replace(report, candidates=tuple(gated)))


def test_where_every_layer_stayed_in_float_there_is_no_chart() -> None:
    report = with_layers()
    kept = tuple(replace(layer, own_sqnr_db=None, kept_float=True) for layer in LAYERS)
    files = tuple(replace(c, layers=kept) for c in report.candidates)

    page = render(replace(report, candidates=files))

    assert "All 4 layers" in page
    assert "of the layer alone</span>" not in page
