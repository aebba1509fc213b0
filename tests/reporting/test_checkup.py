import json

from rich.console import Console

from secateur.checkup import Check
from secateur.reporting.checkup import as_text, tables

FINE = Check("library", "numpy", "ok", "2.4.6 (takes >=2.0)")
LACKS = Check("library", "onnxruntime", "problem", "not installed", "pip install secateur")
SLOW = Check("processor", "INT8", "note", "weights get 7 bits", "measure it")


def printed(*checks: Check) -> list[str]:
    console = Console(width=80, force_terminal=False)
    with console.capture() as capture:
        console.print(tables(checks))
    return [" ".join(line.split()) for line in capture.get().splitlines()]


def test_a_check_is_a_line_and_its_remedy_the_next() -> None:
    lines = printed(FINE, LACKS, SLOW)

    assert lines[lines.index("problem onnxruntime not installed") + 1] == "→ pip install secateur"
    assert lines[lines.index("note INT8 weights get 7 bits") + 1] == "→ measure it"


def test_each_area_has_its_title() -> None:
    lines = printed(FINE, LACKS, SLOW)

    assert lines.index("Python and libraries") == 0
    assert "Processor, memory and ONNX Runtime" in lines


def test_brackets_are_told_as_they_are() -> None:
    assert "→ pip install 'secateur[lab]'" in printed(Check("extra", "lab", "note", "…", "pip install 'secateur[lab]'"))


def test_the_last_line_counts_the_problems() -> None:
    assert printed(FINE, SLOW)[-1] == "No problem was found."
    assert printed(FINE, LACKS)[-1] == "1 problem found: see above."


def test_json_holds_every_check_and_how_many_problems_there_are() -> None:
    told = json.loads(as_text((FINE, LACKS)))

    assert told["problems"] == 1
    assert told["checks"][0] == {
        "area": "library", "name": "numpy", "state": "ok", "text": "2.4.6 (takes >=2.0)", "remedy": None,
    }  # fmt: skip
