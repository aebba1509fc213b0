"""A store as tables: what it holds, what one entry is, what was removed."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from secateur.housekeeping import DAMAGED, LOCKS, UNFINISHED, Details, Entry, Total
from secateur.reporting.table import NONE, aligned

KEY_DIGITS = 12
NAMES = {UNFINISHED: "(unfinished)", DAMAGED: "(damaged)", LOCKS: "(locks)"}
"""Of what is no stage."""


def totals_table(totals: dict[str, Total]) -> Table:
    """A line a stage, the largest first."""
    table = aligned("", "stage", "entries", "MB", "work")
    for name, total in _largest_first(totals):
        table.add_row(NAMES.get(name, name), f"{total.entries}", _megabytes(total.size_bytes), _duration(total.seconds))
    whole = sum(totals.values(), Total())
    table.add_row("all", f"{whole.entries}", _megabytes(whole.size_bytes), _duration(whole.seconds), style="bold")
    return table


def entries_table(entries: Iterable[Entry]) -> Table:
    """A line an entry, the last used first."""
    table = aligned("", "key", "MB", "made", "last used", "made in")
    for entry in sorted(entries, key=lambda entry: entry.used, reverse=True):
        made_in = NONE if entry.seconds is None else _duration(entry.seconds)
        table.add_row(entry.key[:KEY_DIGITS], _megabytes(entry.size_bytes), _ago(entry.made), _ago(entry.used), made_in)
    return table


def details_page(found: Details) -> RenderableType:
    """All that is known of one entry."""
    entry = found.entry
    facts = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    facts.add_row("stage", f"{entry.stage}, version {found.version}")
    facts.add_row("key", entry.key)
    facts.add_row("libraries", ", ".join(f"{name} {version}" for name, version in found.libraries.items()) or NONE)
    facts.add_row("made", f"{_ago(entry.made)}, in {_duration(entry.seconds or 0)}")
    facts.add_row("last used", _ago(entry.used))
    facts.add_row("runs", "\n".join(map(str, found.runs)) or "none whose records are here")
    files = aligned("", "file", "MB")
    for name, size_bytes in found.files.items():
        files.add_row(name, _megabytes(size_bytes))
    return Group(facts, *_values("inputs", found.inputs), *_values("outputs", found.outputs), files)


def removed_table(totals: dict[str, Total]) -> Table:
    """What went, or would go, by stage, the largest first."""
    table = aligned("", "stage", "entries", "MB")
    for name, total in _largest_first(totals):
        table.add_row(NAMES.get(name, name), f"{total.entries}", _megabytes(total.size_bytes))
    return table


def _largest_first(totals: dict[str, Total]) -> list[tuple[str, Total]]:
    return sorted(totals.items(), key=lambda item: item[1].size_bytes, reverse=True)


def _values(title: str, plain: Any) -> list[RenderableType]:
    text = msgspec.json.format(msgspec.json.encode(plain), indent=2).decode()
    return ["", Text(title, style="bold"), Text(text)]


def _megabytes(size_bytes: int) -> str:
    """Decimal megabytes: `13.8`, `0.002`."""
    return f"{size_bytes / 1e6:,.1f}" if size_bytes >= 1e5 else f"{size_bytes / 1e6:.3f}"


def _ago(moment: float) -> str:
    """Of seconds since 1970; a clock that jumped back makes no future of it."""
    return f"{_duration(max(time.time() - moment, 0.0))} ago"


def _duration(seconds: float) -> str:
    """`42 s`, `12 min`, `3.5 h`, `11 days`."""
    for unit, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"
