"""Asks whether a version of constraints.txt is known to be vulnerable: a part of make check. Exit code 1 where one is.

Where nobody who knows can be reached, that is said, and nothing fails.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ASKED = ["--requirement", "constraints.txt", "--no-deps", "--disable-pip", "--progress-spinner", "off"]

ACCEPTED: dict[str, str] = {}
"""By its id, why a finding does not concern secateur, and since when."""

UNREACHABLE = re.compile(r"ConnectionError|ProxyError|ConnectTimeout|ReadTimeout|SSLError|Max retries exceeded")


def known_packages() -> list[dict[str, Any]]:
    """Those that somebody knows of, with their `vulns`; none where nobody can be reached. Raises SystemExit where
    pip-audit itself fails."""
    ignored = [word for accepted in ACCEPTED for word in ("--ignore-vuln", accepted)]
    command = [sys.executable, "-m", "pip_audit", *ASKED, "--format", "json", *ignored]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if not done.stdout:
        if UNREACHABLE.search(done.stderr):
            return []
        raise SystemExit(f"audit: pip-audit failed: {(done.stderr.strip() or 'without a word').splitlines()[-1]}")
    return [package for package in json.loads(done.stdout)["dependencies"] if "vulns" in package]


def main() -> str | None:
    """What is wrong, a line a finding; None where nothing is known."""
    known = known_packages()
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
