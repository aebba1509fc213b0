import re
from xml.etree import ElementTree

from secateur.reporting import charts
from secateur.reporting.charts import Point, Step

SVG = "{http://www.w3.org/2000/svg}"
CHEAP, DEAR = Point("cheap", 10, 0.3, label="cheap"), Point("dear", 40, 0.4, label="dear")


def drawn(*points: Point, least: float | None = None) -> ElementTree.Element:
    return ElementTree.fromstring(charts.front(points, "ms", "mAP", (300, 200), least))


def texts(svg: ElementTree.Element) -> list[str | None]:
    return [text.text for text in svg.iter(f"{SVG}text")]


def titles(svg: ElementTree.Element) -> list[str | None]:
    return [title.text for title in svg.iter(f"{SVG}title")]


def test_the_front_is_what_no_other_beats_in_both() -> None:
    points = [
        DEAR,
        CHEAP,
        Point("beaten", 40, 0.35),
        Point("faulty", 1, 0.9, kind="fault"),
        Point("as dear", 40, 0.4),
    ]

    assert [point.name for point in charts.unbeaten(points)] == ["cheap", "dear", "as dear"]


def test_each_point_tells_what_it_is_under_the_pointer() -> None:
    told = titles(drawn(Point("a", 1, 0.1, told="a: 1 ms & <fast>"), Point("b", 2, 0.2)))

    assert sorted(filter(None, told)) == ["a: 1 ms & <fast>", "b"]


def test_an_axis_begins_at_0_where_something_is_near_it_and_else_shows_what_differs() -> None:
    nothing, interval = Point("finds nothing", 5, 0.003, y_interval=(-0.03, 0.02)), Point("b", 2, 0.3)
    low, high = drawn(nothing, interval), drawn(CHEAP, DEAR)

    assert "0.00" in texts(low)
    assert not any(text and text.startswith("−") for text in texts(low))
    assert "0.00" not in texts(high)


def test_a_chart_of_nothing_is_drawn() -> None:
    assert titles(drawn()) == []


def test_labels_that_have_no_room_are_left_out() -> None:
    twins = [Point(f"twin-{n:02}", 5, 0.3, label=f"twin-{n:02}") for n in range(40)]

    shown = [text for text in texts(drawn(*twins)) if text and text.startswith("twin")]

    assert 0 < len(shown) < len(twins)
    assert len(titles(drawn(*twins))) == len(twins)


def test_the_selected_one_is_labelled_first() -> None:
    crowd = [Point(f"crowd-{n}", 5, 0.3, label=f"crowd-{n}") for n in range(40)]

    assert "chosen" in texts(drawn(*crowd, Point("chosen", 5, 0.3, kind="selected", label="chosen")))


def test_hundreds_of_points_are_drawn_without_labels() -> None:
    points = [Point(str(n), n % 17 + 1, n / 300) for n in range(200)]

    assert len(titles(drawn(*points))) == 200


def test_an_interval_is_a_whisker_around_its_point() -> None:
    point = Point("a", 20, 0.3, x_interval=(10, 30))
    far = Point("far", 40, 0.4)

    across = [line for line in drawn(point, far).iter(f"{SVG}line") if line.get("stroke-width") == "1.4"]

    assert len(across) == 1
    assert float(across[0].attrib["x2"]) in (-150, 150)  # 20 of 40 ms, on 300 pixels
    assert across[0].attrib["y2"] == "0"


def test_the_least_accuracy_is_drawn_where_there_is_one() -> None:
    assert "least accuracy allowed" in texts(drawn(CHEAP, DEAR, least=0.25))
    assert "least accuracy allowed" not in texts(drawn(CHEAP, DEAR))


def test_the_ends_of_the_front_are_labelled_before_what_is_between_them() -> None:
    between = [Point(f"between-{n}", 20 + n / 10, 0.36 + n / 1e4, label="between" * 4) for n in range(20)]

    shown = texts(drawn(*between, CHEAP, DEAR))

    assert {"cheap", "dear"} <= set(shown)


def test_labels_of_a_chart_name_nothing_that_another_chart_of_the_page_names_too() -> None:
    svg = charts.front([CHEAP, DEAR], "ms", "mAP", (300, 200), least=0.25)

    assert "id=" not in svg
    assert "url(" not in svg


def test_a_drawing_is_one_image_in_the_pages_own_colours() -> None:
    svg = charts.front([CHEAP, DEAR], "ms", "mAP", (300, 200))

    assert svg.count('role="img"') == svg.count("role=") == 1
    assert set(re.findall(r"#[0-9a-f]{3,6}\b", svg)) == set()
    assert "fill:var(--" in svg


def test_of_many_rungs_the_first_and_the_last_have_their_figure() -> None:
    steps = [Step(str(n), 0.2, 0.3, 6 - n / 4, f"cost {n}", accepted=True) for n in range(12)]

    shown = [text for text in texts(ElementTree.fromstring(charts.macs(steps, (300, 200)))) if text and "cost" in text]

    assert shown == ["cost 0", "cost 11"]


def test_a_rung_tells_both_accuracies() -> None:
    steps = [Step("baseline", None, 0.4, 6, "6.00", True), Step("1", 0.2, 0.35, 3, "−50 %", accepted=False)]

    told = titles(ElementTree.fromstring(charts.ladder(steps, "mask", (300, 200))))

    assert "1: pruned 0.200, fine-tuned 0.350, 3.00 G MACs, rejected" in told


def test_a_rung_whose_training_was_undone_tells_what_that_came_to() -> None:
    steps = [Step("baseline", None, 0.4, 6, "6.00", True), Step("1", 0.35, 0.35, 3, "−50 %", True, undone=0.2)]

    told = titles(ElementTree.fromstring(charts.ladder(steps, "mask", (300, 200))))

    assert "1: pruned 0.350, fine-tuned 0.200, undone: 0.350, 3.00 G MACs" in told


def test_whiskers_lie_within_an_axis_that_begins_at_0() -> None:
    points = [Point("a", 1.0, 0.1, y_interval=(0.0, 0.4)), Point("b", 2.0, 0.01)]
    drawn = ElementTree.fromstring(charts.front(points, "ms", "mask", (300, 200)))

    assert {"0.4"} & set(texts(drawn))
