import pytest

from secateur.app.composing import composed
from secateur.errors import SpecError
from secateur.spaces import Choices, Grid, as_plain, corners, overrides, size, space_of

TARGET = {"low": 0.1, "high": 0.3, "step": 0.1}


def test_nested_settings_are_keys_with_dots() -> None:
    space = space_of({"schedule": {"target": TARGET}, "importance": ["taylor", "magnitude"]})

    assert space == {"schedule.target": Grid(0.1, 0.3, 0.1), "importance": Choices(["taylor", "magnitude"])}


def test_what_is_null_is_not_searched() -> None:
    assert space_of({"imgsz": None, "schedule": {"target": None}, "seed": [0, 1]}) == {"seed": Choices([0, 1])}


def test_a_space_is_read_back_as_it_was_written() -> None:
    space = space_of(
        {"schedule": {"target": TARGET}, "imgsz": {"low": 64, "high": 128, "step": 32}, "scope": ["local"]}
    )

    assert space_of(as_plain(space)) == space


def test_the_numbers_of_a_grid_are_those_that_a_person_would_write() -> None:
    assert Grid(0.1, 0.6, 0.05).values == [0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6]


def test_a_grid_of_whole_numbers_has_whole_numbers() -> None:
    values = Grid(64, 128, 32).values

    assert values == [64, 96, 128]
    assert {type(value) for value in values} == {int}


def test_a_number_beside_the_grid_is_the_one_next_to_it() -> None:
    assert Grid(0.1, 0.6, 0.05).nearest(0.30000000000000004) == 0.3


def test_a_space_is_as_large_as_its_combinations() -> None:
    assert size(space_of({"schedule": {"target": TARGET}, "imgsz": [64, 96], "scope": ["local"]})) == 3 * 2


def test_each_choice_and_both_ends_of_each_grid_are_corners() -> None:
    space = space_of({"schedule": {"target": TARGET}, "scope": ["local", "global", "isomorphic"]})

    assert corners(space) == [
        {"schedule.target": 0.1, "scope": "local"},
        {"schedule.target": 0.3, "scope": "local"},
        {"schedule.target": 0.1, "scope": "global"},
        {"schedule.target": 0.1, "scope": "isomorphic"},
    ]


@pytest.mark.parametrize(
    "value", ["best.pt", "it's 5, [x]=y", "null", "true", "1", "/tmp/a b", "nan", True, False, None, 3, 0.25, 1e-5]
)
def test_what_is_written_as_an_override_is_read_as_it_was(value: object) -> None:
    (written,) = overrides({"name": value})  # type: ignore[dict-item]

    assert composed([written])["name"] == value
    assert type(composed([written])["name"]) is type(value)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"imgsz": 64}, "search.space.imgsz must be a list of choices, or low, high and step, got 64"),
        ({"imgsz": []}, "search.space.imgsz: needs one choice or more, got []"),
        ({"imgsz": [64, 64]}, "search.space.imgsz: choices must differ, got 64 twice"),
        ({"a": {"b": [[1]]}}, "search.space.a.b: choices must be texts, numbers, true, false or null, got [1]"),
        ({"a": {"low": 1, "high": 2}}, "search.space.a: a grid is of the numbers low, high and step, got {'low': 1, "),
        ({"a": TARGET | {"steps": 2}}, "search.space.a: a grid is of the numbers low, high and step, got "),
        ({"a": TARGET | {"step": "x"}}, "search.space.a: a grid is of the numbers low, high and step, got "),
        ({"a": TARGET | {"low": True}}, "search.space.a: a grid is of the numbers low, high and step, got "),
        ({"a": TARGET | {"step": 0}}, "search.space.a: step must be above 0, got 0"),
        ({"a": TARGET | {"low": 0.4}}, "search.space.a: low must be at most high, got 0.4 and 0.3"),
        ({"a": TARGET | {"low": 0.15}}, "search.space.a: high must be a whole number of steps above low, got 0.15, "),
    ],
)
def test_what_is_no_space_is_refused_in_one_line(settings: dict[str, object], line: str) -> None:
    with pytest.raises(SpecError) as refusal:
        space_of(settings)

    assert str(refusal.value).startswith(line)
    assert "\n" not in str(refusal.value)
