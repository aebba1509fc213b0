"""A chart as a file of its own, for a text that shows it as a picture."""

from __future__ import annotations

from pathlib import Path

_PAGES = Path(__file__).with_name("style.css")
_TEXT = (
    'text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif; '
    "paint-order: stroke; stroke: var(--card); stroke-width: 4px; stroke-linejoin: round; }"
)


def picture(chart: str) -> str:
    """The same drawing on a ground of its own, in the pages' colours: light or dark, as whoever looks has chosen. It
    needs nothing beside it."""
    start, _, drawn = chart.partition(">")
    left, top, width, height = start.partition('viewBox="')[2].partition('"')[0].split()
    ground = f'<rect x="{left}" y="{top}" width="{width}" height="{height}" rx="8" style="fill:var(--card)"/>'
    sized = start.replace("<svg ", f'<svg width="{width}" height="{height}" ')
    return f"{sized}><style>{_colours()}\n{_TEXT}</style>{ground}{drawn}\n"


def _colours() -> str:
    """What the pages' style says first: a palette for light and one for dark."""
    return _PAGES.read_text(encoding="utf-8").partition("\n* {")[0]
