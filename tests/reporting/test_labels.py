from itertools import combinations
from random import Random

from secateur.reporting.labels import HALO, Box, along, beside, boxes, placed

ROOM = Box(0, 0, 300, 200)
SIZE = (60.0, 16.0)


def mark(x: float, y: float) -> Box:
    return Box(x, y, x, y).grown(4)


def test_no_label_lies_on_another_on_a_mark_on_a_whisker_or_outside() -> None:
    drawn, rng = 0, Random(0)
    for _ in range(50):
        centres = [(rng.uniform(100, 200), rng.uniform(60, 140)) for _ in range(8)]
        marks = [mark(x, y) for x, y in centres]
        whiskers = [boxes([(x, y - 15), (x, y + 15)]) for x, y in centres]
        taken = [*marks, *(box for found in whiskers for box in found)]

        wanted = [beside(own, marks, upright, SIZE) for own, upright in zip(marks, whiskers, strict=True)]
        found = [place for place in placed(wanted, taken, [], ROOM) if place]

        drawn += len(found)
        assert not [1 for one, other in combinations(found, 2) if one.grown(HALO).overlaps(other)]
        assert not [1 for place in found for box in taken if place.grown(HALO).overlaps(box)]
        assert all(place.is_within(ROOM) for place in found)
    assert drawn > 200  # of 400


def test_a_label_with_room_all_around_is_at_the_right_of_its_mark() -> None:
    (place,) = placed([beside(mark(100, 100), [], [], SIZE)], [mark(100, 100)], [], ROOM)

    assert place == Box(108, 92, 168, 108)


def test_at_the_right_border_a_label_is_at_the_left_of_its_mark() -> None:
    (place,) = placed([beside(mark(290, 100), [], [], SIZE)], [mark(290, 100)], [], ROOM)

    assert place == Box(222, 92, 282, 108)


def test_who_comes_first_chooses_first_and_who_finds_no_room_has_none() -> None:
    only = Box(10, 10, 70, 26)

    assert placed([[only], [only]], [], [], ROOM) == [only, None]


def test_what_may_be_crossed_is_crossed_only_where_there_is_no_other_room() -> None:
    on_it, clear = Box(10, 10, 70, 26), Box(10, 50, 70, 66)
    stairs = boxes([(0, 18), (300, 18)])

    assert placed([[on_it, clear]], [], stairs, ROOM) == [clear]
    assert placed([[on_it]], [], stairs, ROOM) == [on_it]


def test_a_label_is_not_so_near_to_another_mark_that_it_passes_for_its() -> None:
    own, other = mark(100, 100), mark(100, 70)
    tall = boxes([(100, 75), (100, 160)])

    places = beside(own, [own, other], tall, SIZE)

    assert all(place.distance(own) <= place.distance(other) + 8 for place in places)
    assert len(places) < len(beside(own, [own], tall, SIZE))


def test_beyond_the_whiskers_there_are_places_too() -> None:
    upright = boxes([(100, 40), (100, 160)])

    assert Box(70, 20, 130, 36) in beside(mark(100, 100), [], upright, SIZE)


def test_the_label_of_a_line_slides_along_it_to_where_there_is_room() -> None:
    line = boxes([(0, 100), (300, 100)])
    ends = [Box(200, 70, 300, 130), Box(0, 70, 100, 130)]

    (place,) = placed([along(100, ROOM, SIZE)], [*line, *ends], [], ROOM)

    assert place
    assert place.top == 100 + HALO
    assert 100 <= place.left - HALO < place.right + HALO <= 200


def test_a_line_at_the_lower_border_has_its_label_above() -> None:
    (place,) = placed([along(195, ROOM, SIZE)], boxes([(0, 195), (300, 195)]), [], ROOM)

    assert place == Box(240, 177, 300, 193)


def test_a_slanting_line_leaves_its_corners_free() -> None:
    slanting = boxes([(0, 0), (100, 100)])

    assert not any(box.overlaps(Box(60, 10, 90, 40)) for box in slanting)
    assert any(box.overlaps(Box(40, 40, 60, 60)) for box in slanting)
