"""What an examination of the machine found: as a table for the terminal, and as JSON."""

from __future__ import annotations

from itertools import groupby

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from secateur.checkup import Area, Check, State, problems

TITLES: dict[Area, str] = {
    "library": "Python and libraries",
    "extra": "Extras",
    "processor": "Processor, memory and ONNX Runtime",
    "gpu": "GPUs",
    "place": "Places",
}
STYLES: dict[State, str] = {"ok": "green", "note": "yellow", "problem": "bold red"}


def as_text(checks: tuple[Check, ...]) -> str:
    """JSON: `problems`, how many, and `checks`, each with `area`, `name`, `state`, `text` and `remedy` or null."""
    found = {"problems": problems(checks), "checks": checks}
    return msgspec.json.format(msgspec.json.encode(found), indent=2).decode()


def tables(checks: tuple[Check, ...]) -> RenderableType:
    """A line a check, in the order they were made in, a title above those of an area, and below all how it stands."""
    parts: list[RenderableType] = []
    for area, found in groupby(checks, lambda check: check.area):
        parts += [Text(TITLES[area], style="bold"), _table(tuple(found), _widest(checks)), ""]
    return Group(*parts, _verdict(problems(checks)))


def _widest(checks: tuple[Check, ...]) -> int:
    return max(len(check.name) for check in checks)


def _table(checks: tuple[Check, ...], width: int) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(width=max(map(len, STYLES)), no_wrap=True)
    table.add_column(width=width, no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        table.add_row(Text(check.state, style=STYLES[check.state]), check.name, Text(check.text))
        if check.remedy:
            table.add_row("", "", Text(f"→ {check.remedy}", style="green"))
    return table


def _verdict(count: int) -> Text:
    if not count:
        return Text("No problem was found.", style="bold green")
    return Text(f"{count} problem{'s' * (count != 1)} found: see above.", style="bold red")
