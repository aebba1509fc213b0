"""Tries the doors to other libraries with the oldest and the newest versions that pyproject.toml allows: make matrix.

    python experiments/matrix.py [python3.12 …] [--only lowest-direct|highest]

For each Python that is found (3.11 to 3.13, or those named) and each end of the versions: an environment of its own in
.venv-matrix/, and in it those tests of adapters, quantizers, runtimes and configs that take no more than seconds.
Exit code 1 where one fails. Minutes and 6 GB each.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACE = ROOT / ".venv-matrix"

PYTHONS = ("python3.11", "python3.12", "python3.13")
ENDS = ("lowest-direct", "highest")
INSTALLED = ("-e", ".[lab,nncf,openvino,ncnn,pnnx,search,video,dev]")
CONTRACTS = ("tests/adapters", "tests/quantizers", "tests/runtimes", "tests/test_config.py")
TOLD = ("torch", "ultralytics", "torch-pruning", "mlflow", "onnx", "onnxruntime", "hydra-core")


def environment(python: str, end: str) -> Path:
    """The Python of an environment with the versions of that end; raises SystemExit where there is none."""
    place = PLACE / f"{python}-{end}"
    uv = [sys.executable, "-m", "uv"]
    for command in (
        [*uv, "venv", "--quiet", "--clear", "--python", python, str(place)],
        [*uv, "pip", "install", "--quiet", "--python", str(place / "bin" / "python"), "--resolution", end, *INSTALLED],
    ):
        if subprocess.run(command, cwd=ROOT).returncode:
            raise SystemExit(f"{python}, {end}: cannot be set up")
    return place / "bin" / "python"


def versions(python: Path) -> str:
    """Of the libraries that matter, as installed."""
    code = "import importlib.metadata as m, json, sys; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"
    told = subprocess.run([python, "-c", code, *TOLD], capture_output=True, text=True, check=True).stdout
    return ", ".join(f"{name} {version}" for name, version in json.loads(told).items())


def keeps_contracts(python: Path) -> bool:
    """Whether they are kept; pytest tells of those that are not."""
    command = [python, "-m", "pytest", "-q", "--tb=line", "-m", "not slow", "-p", "no:cacheprovider", *CONTRACTS]
    return not subprocess.run(command, cwd=ROOT).returncode


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pythons", nargs="*", default=[name for name in PYTHONS if shutil.which(name)])
    parser.add_argument("--only", choices=ENDS)
    given = parser.parse_args()
    kept = True
    for name in given.pythons:
        for which in [given.only] if given.only else ENDS:
            interpreter = environment(name, which)
            print(f"{name}, {which}: {versions(interpreter)}", flush=True)
            kept = keeps_contracts(interpreter) and kept
    raise SystemExit(not kept)
