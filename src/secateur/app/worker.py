"""One of a search's workers: `python -m secateur.app.worker <folder> <trials> alone|beside`."""

from __future__ import annotations

import sys
from pathlib import Path

from secateur.interrupts import EXIT_CODE, end_with_parent, heeded
from secateur.switches import told


def main(folder: Path, wanted: int, beside_others: bool) -> int:
    """Does what is left of so many trials; 0, 2 where the search cannot go on, 130 where it was interrupted."""
    with heeded():
        end_with_parent()
        try:
            return _work(folder, wanted, beside_others)
        except KeyboardInterrupt:
            return EXIT_CODE


def _work(folder: Path, wanted: int, beside_others: bool) -> int:
    # imported only now that an interrupt is heeded: it takes seconds
    from secateur.app.composing import in_one_line
    from secateur.app.trials import work
    from secateur.errors import SecateurError

    try:
        with in_one_line():
            work(folder, wanted, beside_others)
    except SecateurError as error:
        sys.stderr.write(f"{told(error)}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "beside"))
