"""A trial of a search, in a process of its own: `python -m secateur.app.trial <folder>`, as a job of a sweep is, but
stopped once another is ahead of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from secateur.app import job

if TYPE_CHECKING:
    from secateur.fronts import Report
    from secateur.ports import Sink


def main(folder: Path) -> int:
    """As of a job; 0 where it was stopped too."""
    return job.main(folder, rivals_in)


def rivals_in(folder: Path) -> Sequence[Sink]:
    """What watches the trials beside this one; nothing where none may be stopped."""
    from secateur import searches
    from secateur.app.composing import order_in
    from secateur.rivals import Rivals

    def others() -> dict[int, Report]:
        return {n: report for n, report in searches.finished(folder.parent).items() if n != int(folder.name)}

    margin = searches.read(folder.parent).margin
    return () if margin is None else (Rivals(order_in(folder).plain, others, margin),)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
