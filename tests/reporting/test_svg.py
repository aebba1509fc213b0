import re
from itertools import combinations
from xml.etree import ElementTree

import pytest

from secateur.reporting import charts
from secateur.reporting.charts import Point, Step
from secateur.reporting.labels import Box

LEAST = "least accuracy allowed"
SVG = "{http://www.w3.org/2000/svg}"
CLOSE = [
    Point("a", 10.0, 0.300, (8, 12), (0.29, 0.31), "front", label="pruned-int8_static 1.9×"),
    Point("b", 10.4, 0.301, (9, 12), (0.29, 0.31), "selected", label="pruned-fp32 1.8×"),
    Point("c", 11.0, 0.303, None, (0.29, 0.32), "fault", label="baseline-int8_static 1.7×"),
    Point("d", 12.0, 0.302, (6, 19), None, "dominated", label="pruned-int8_static 1.6×"),
    Point("e", 19.0, 0.320, None, None, "baseline", label="baseline-fp32 1×"),
]


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?[\d.]+", text)]


def at(element: ElementTree.Element) -> tuple[float, float]:
    x, y = numbers(element.attrib["transform"])
    return x, y


def letters(svg: ElementTree.Element) -> list[Box]:
    """Of each label, narrower than in any font that it may be shown in, from base line to the height of a capital."""
    found = [text for text in svg.iter(f"{SVG}text") if text.text in {*(point.label for point in CLOSE), LEAST}]
    places = [(at(text), len(text.text or ""), numbers(text.attrib["font-size"])[0]) for text in found]
    return [Box(x, y - 0.7 * size, x + 0.5 * size * count, y) for (x, y), count, size in places]


def marks(svg: ElementTree.Element) -> list[Box]:
    dots = [path for path in svg.iter(f"{SVG}path") if path.find(f"{SVG}title") is not None]
    whiskers = [line for line in svg.iter(f"{SVG}line") if line.get("stroke-width") == "1.4"]
    found = [Box(*at(dot), *at(dot)).grown(3) for dot in dots]
    for line in whiskers:
        (x, y), across, up = at(line), float(line.attrib["x2"]), float(line.attrib["y2"])
        found.append(Box(min(x, x + across), min(y, y + up), max(x, x + across), max(y, y + up)))
    return found


@pytest.mark.parametrize("size", [(880, 320), (330, 210), (270, 250)])
def test_labels_of_close_points_lie_on_nothing(size: tuple[int, int]) -> None:
    svg = ElementTree.fromstring(charts.front(CLOSE, "ms", "mAP", size, least=0.299))

    found = letters(svg)

    assert len(found) >= 2
    assert not [1 for one, other in combinations(found, 2) if one.overlaps(other)]
    assert not [1 for box in found for mark in marks(svg) if box.overlaps(mark)]
    assert all(box.is_within(Box(0, 0, *size)) for box in found)


def test_a_label_that_is_wider_than_the_chart_makes_it_no_wider() -> None:
    plain = [Point("a", 10, 0.3), Point("b", 20, 0.4)]
    long = [Point("a", 10, 0.3, label="long" * 40), Point("b", 20, 0.4)]

    views = [ElementTree.fromstring(charts.front(found, "ms", "mAP", (270, 250))) for found in (plain, long)]

    assert views[0].attrib["viewBox"] == views[1].attrib["viewBox"]


def test_least_accuracy_is_written_inside_the_ladder_too() -> None:
    steps = [Step("baseline", None, 0.4, 6, "6.00", True), Step("1", 0.2, 0.35, 3, "−50 %", accepted=True)]

    svg = ElementTree.fromstring(charts.ladder(steps, "mask", (330, 210), least=0.002))

    (label,) = [text for text in svg.iter(f"{SVG}text") if text.text == "least allowed"]
    assert 0 < at(label)[1] < 210
