"""Asks whether a version of constraints.txt is known to be vulnerable: a part of make check. Exit code 1 where one is.

Where the network does not allow it, that is said, and nothing fails.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ASKED = [
    "--requirement",
    "constraints.txt",
    "--no-deps",
    "--disable-pip",
    "--progress-spinner",
    "off",
    "--timeout",
    "10",
]


def audited() -> list[dict[str, Any]]:
    """Each package that somebody knows of, with its `vulns`; none where nobody can be asked."""
    command = [sys.executable, "-m", "pip_audit", *ASKED, "--format", "json"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    return [package for package in json.loads(told)["dependencies"] if "vulns" in package] if told else []


def main() -> str | None:
    """What is wrong, a line a finding; None where nothing is known."""
    known = audited()
    if not known:
        print("audit: left out, as nobody who knows of vulnerabilities can be reached from here")
        return None
    found = [
        f"{package['name']} {package['version']}: {each['id']}; mended in: {', '.join(each['fix_versions']) or '–'}"
        for package in known
        for each in package["vulns"]
    ]
    print(f"audit: {len(known)} packages asked about, {len(found)} findings")
    return "\n".join(found) or None


if __name__ == "__main__":
    sys.exit(main())
