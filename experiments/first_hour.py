"""Follows the README as someone new does, in an empty folder, and times each step.

    python experiments/first_hour.py <empty folder> [<repository>] [--next <words>]…

Clones the repository (this one, at its last commit, if none is named) and runs what stands under "Two commands", word
for word, but the tests; then each command of "What to type next" that holds the words of a --next. Ends with exit
code 1 where a command fails, or the first report is there later than ten minutes after `git clone`.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]

FIRST_RESULT = 600.0
"""Seconds from `git clone` to the first report, at most."""


def commands(readme: str, section: str) -> list[str]:
    """The lines of a section's indented blocks, without their comments."""
    found = re.search(rf"^## {re.escape(section)}\n(.*?)(?=^## )", readme, re.MULTILINE | re.DOTALL)
    if not found:
        raise SystemExit(f"README.md has no section {section}")
    return [line.partition(" #")[0].strip() for line in re.findall(r"^    (.+)$", found[1], re.MULTILINE)]


def run_timed(command: str, folder: Path) -> float:
    """Seconds that it took; raises SystemExit where it failed."""
    print(f"\n$ {command}", flush=True)
    started = time.perf_counter()
    code = subprocess.run(command, shell=True, cwd=folder).returncode
    if code:
        raise SystemExit(f"{command}: exit code {code}")
    return time.perf_counter() - started


def follow(folder: Path, repository: str, words: list[str]) -> dict[str, float]:
    """Seconds of each step."""
    if folder.exists() and any(folder.iterdir()):
        raise SystemExit(f"{folder} is not empty")
    folder.mkdir(parents=True, exist_ok=True)
    steps = {"git clone": run_timed(shlex.join(["git", "clone", "--quiet", repository, "secateur"]), folder)}
    checkout = folder / "secateur"
    readme = (checkout / "README.md").read_text(encoding="utf-8")
    first = [command for command in commands(readme, "Two commands") if command != "make test"]
    after = [line for line in commands(readme, "What to type next") if any(each in line for each in words)]
    for command in (*first, *after):
        steps[command] = run_timed(command, checkout)
        if command == first[-1]:
            check_first_result(checkout / "outputs" / "latest", sum(steps.values()))
    return steps


def check_first_result(run: Path, seconds: float) -> None:
    """Raises SystemExit where it is not there, or late."""
    if missing := [name for name in ("report.json", "report.html") if not (run / name).exists()]:
        raise SystemExit(f"{run} has no {missing[0]}")
    status = json.loads((run / "report.json").read_bytes())["run"]["status"]
    if status != "finished":
        raise SystemExit(f"{run}: {status}")
    if seconds > FIRST_RESULT:
        raise SystemExit(f"the first result came after {seconds:.0f} s, later than {FIRST_RESULT:.0f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("repository", nargs="?", default=str(ROOT))
    parser.add_argument("--next", action="append", default=[], metavar="WORDS")
    given = parser.parse_args()
    repository = str(Path(given.repository).resolve()) if Path(given.repository).exists() else given.repository
    times = follow(given.folder, repository, given.next)
    print("\nseconds  step")
    for step, seconds in times.items():
        print(f"{seconds:7.1f}  {step}")
