"""What the guides show is what the commands say, and what they point to is there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click import Context, Group
from typer.main import get_command

from secateur.app import projects
from secateur.app.checking import to_spec
from secateur.app.composing import composed, planned
from secateur.cli.commands import app

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
REPORTS = ROOT / "experiments" / "reports"

LARGEST = 30_000
"""Bytes of a picture: each stays in the history for good."""


def shown() -> list[tuple[str, str]]:
    """Each command of the guides that begins with `$`, and what stands below it."""
    blocks = [
        block
        for guide in sorted(DOCS.glob("*.md"))
        for block in re.findall(r"^    \$ (secateur .+)\n((?:    .*\n)+)", guide.read_text(), re.MULTILINE)
    ]
    return [(command, re.sub(r"^    ", "", told, flags=re.MULTILINE).rstrip()) for command, told in blocks]


def without_ends(text: str) -> str:
    """Lines without the blanks at their ends, as they stand in a guide."""
    return "\n".join(line.rstrip() for line in text.replace(f"{ROOT.as_posix()}/", "").splitlines())


def pictures() -> list[Path]:
    return sorted((DOCS / "pictures").glob("*"))


def told_in(picture: Path) -> list[str]:
    """What is written in it, and what its marks tell under the pointer."""
    root = ElementTree.parse(picture).getroot()
    return [
        text.strip()
        for element in root.iter()
        for text in [element.text or ""]
        if element.tag.endswith(("title", "text"))
    ]


@pytest.mark.parametrize(("command", "told"), shown())
def test_a_command_of_a_guide_says_what_the_guide_shows(command: str, told: str) -> None:
    code = "from secateur.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *shlex.split(command)[1:]], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert told in without_ends(done.stdout)


MORE = "seed=0,1 dataset.root=here model.weights=best.pt"
"""What stands for the … of a sweep."""


def told() -> list[str]:
    """Each command that README and guides name in a block, as `secateur …`: what a make target stands for is that."""
    texts = "\n".join(guide.read_text() for guide in [ROOT / "README.md", *sorted(DOCS.glob("*.md"))])
    found = re.findall(r"^    (?:\.venv/bin/)?((?:secateur|make) .+)$", texts, re.MULTILINE)
    found = [line.partition(" && ")[0] for line in found]
    commands = [shlex.split(line.replace("…", MORE if " -m " in line else ""), comments=True) for line in found]
    return sorted({shlex.join(_as_secateur(words) if words[0] == "make" else words) for words in commands})


def _as_secateur(words: list[str]) -> list[str]:
    """By the Makefile's own recipe."""
    done = subprocess.run(
        ["make", "-n", "-o", ".venv/.ready", *words[1:]], cwd=ROOT, capture_output=True, text=True, check=True
    )
    recipe = shlex.split(done.stdout)
    return ["secateur", *recipe[1:]] if recipe[0].endswith("/secateur") else recipe


@pytest.mark.parametrize("command", [command for command in told() if re.match(r"secateur (run|sensitivity)", command)])
def test_a_run_that_a_guide_names_composes(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, verb, *overrides = shlex.split(command)
    projects.make(tmp_path / "mine")
    monkeypatch.chdir(tmp_path / "mine")  # where +study=mine is
    wanted = [word for word in overrides if not word.startswith("--")]

    if "-m" in wanted:
        assert planned([word for word in wanted if word != "-m"]).jobs
    else:
        assert to_spec(composed(wanted, open_ended=True)), verb


@pytest.mark.parametrize(
    "command", [command for command in told() if re.match(r"secateur (?!run|sensitivity)", command)]
)
def test_any_other_command_that_a_guide_names_is_one_that_there_is(command: str) -> None:
    _, *words = shlex.split(command)
    place, context = get_command(app), None

    while isinstance(place, Group):
        name, place, words = place.resolve_command(context or Context(place), words)
        assert place is not None, name

    place.make_context(words[0] if words else "secateur", words)  # raises where an option or argument is none


def test_the_guide_to_the_report_names_each_of_its_sections() -> None:
    template = (ROOT / "src" / "secateur" / "reporting" / "report.html.j2").read_text()
    guide = (DOCS / "report.md").read_text()

    sections = set(re.findall(r"<h2>([^<{]+)</h2>", template))

    assert len(sections) >= 9
    assert [section for section in sections if section not in guide] == []


def test_some_commands_are_shown_with_what_they_say() -> None:
    assert len(shown()) >= 2


def test_the_pictures_are_those_of_the_reports(tmp_path: Path) -> None:
    subprocess.run([sys.executable, DOCS / "draw.py", tmp_path], check=True)

    assert [path.name for path in pictures()] == sorted(path.name for path in tmp_path.iterdir())
    for path in pictures():
        assert told_in(path) == told_in(tmp_path / path.name), "draw them anew: make pictures"
        assert told_in(path)


@pytest.mark.parametrize("picture", [*pictures(), *REPORTS.glob("*.svg")], ids=lambda path: path.name)
def test_a_picture_is_small_stands_alone_and_is_made_for_light_and_dark(picture: Path) -> None:
    content = picture.read_text(encoding="utf-8")

    assert len(content.encode()) <= LARGEST
    assert "prefers-color-scheme: dark" in content
    assert set(re.findall(r"\w+://[^\"' ]+", content)) == {"http://www.w3.org/2000/svg"}
    assert "<script" not in content
    assert set(re.findall(r"var\((--\w+)\)", content)) <= set(re.findall(r"(--\w+):", content))


@pytest.mark.parametrize(
    "guide", [*ROOT.glob("*.md"), *DOCS.glob("*.md"), *REPORTS.glob("*.md")], ids=lambda path: path.name
)
def test_what_a_guide_points_to_is_there(guide: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", guide.read_text())

    missing = [target for target in targets if "://" not in target and not (guide.parent / target).exists()]

    assert missing == []
