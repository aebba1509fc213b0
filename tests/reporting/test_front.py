import copy
from dataclasses import replace
from typing import Any

from rich.console import Console

from secateur.reporting.front import front_tables
from secateur.reporting.summary import report_dict
from secateur.results import RunReport
from tests.example_report import finished


def report(command: str, speedup: float = 2.73, mask: float = 0.318) -> dict[str, Any]:
    """Of the example, which takes 58.9 ms unpruned."""
    told = copy.deepcopy(report_dict(replace(finished(), command=command, spec={"runtime": {}})))
    shipped = next(file for file in told["candidates"] if file["name"] == told["selected"])
    shipped["speedup"]["median"], shipped["mask_map50_95"] = speedup, mask
    return told


def stopped() -> dict[str, Any]:
    return report_dict(RunReport("s/3", "s", "stopped", 1.0, {}, {}, None, "secateur run", error="stopped early: …"))


def text(reports: dict[int, dict[str, Any]]) -> str:
    console = Console(width=140)
    with console.capture() as shown:
        console.print(front_tables(reports), crop=False)
    return shown.get()


def test_the_front_shows_what_is_not_beaten_the_fastest_first() -> None:
    shown = text({0: report("a"), 1: report("b", speedup=2.0, mask=0.2), 2: report("c", speedup=4.0, mask=0.1)})

    rows = [line.split() for line in shown.splitlines() if "pruned-int8_static" in line]
    assert [row[0] for row in rows] == ["2", "0"]
    assert rows[0][-2:] == ["14.72", "4.00×"]  # 58.9 / 4


def test_each_trial_of_the_front_comes_with_what_repeats_it() -> None:
    shown = text({0: report("secateur run seed=1"), 1: report("secateur run seed=2", speedup=2.0, mask=0.2)})

    assert "trial 0: secateur run seed=1" in shown
    assert "seed=2" not in shown


def test_what_repeats_a_trial_stands_in_one_line_however_long() -> None:
    command = f"secateur run {'model.training.epochs=10 ' * 20}seed=1"

    assert f"trial 0: {command}\n" in text({0: report(command)})


def test_trials_that_did_not_get_to_their_end_say_why() -> None:
    assert "trial 3 stopped: stopped early: …" in text({0: report("a"), 3: stopped()})


def test_a_search_without_a_finished_trial_says_so() -> None:
    assert text({3: stopped()}).startswith("No trial is finished.")
