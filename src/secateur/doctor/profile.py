"""Profiles a model file in a fresh process, so that nothing else disturbs it.

python -m secateur.doctor.profile '{"model": …, "fields": {}, "shape": [1, 3, 640, 640], "seconds": 3, …}'
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from secateur.errors import ExportError, SecateurError
from secateur.examination import Profile
from secateur.runtimes.onnxruntime import Onnxruntime


def profile(
    model: Path, runtime: Onnxruntime, shape: Sequence[int], seconds: float, warmup_seconds: float, optimized: Path
) -> Profile:
    """Each node's time; writes the graph as it is run to `optimized`; raises ExportError where it does not run."""
    request = {
        "model": str(model),
        "fields": asdict(runtime),
        "shape": list(shape),
        "seconds": seconds,
        "warmup_seconds": warmup_seconds,
        "optimized": str(optimized),
    }
    command = [sys.executable, "-P", "-m", "secateur.doctor.profile", json.dumps(request)]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    if child.returncode:
        said = child.stderr.strip().rpartition("\n")[2]
        raise ExportError(said or f"{model} brought its process down, exit code {child.returncode}")
    return msgspec.json.decode(child.stdout.strip().rpartition("\n")[2], type=Profile)


# ---- the child ----------------------------------------------------------------------------------


def main(argument: str) -> int:
    """Profiles what the JSON asks for and prints a Profile as JSON; an error is one line on stderr."""
    try:
        made = _profile(**json.loads(argument))
    except SecateurError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(asdict(made)))
    return 0


def _profile(
    model: str, fields: dict[str, Any], shape: list[int], seconds: float, warmup_seconds: float, optimized: str
) -> Profile:
    image = np.random.default_rng(0).random(shape, np.float32)
    return Onnxruntime(**fields).profile(Path(model), image, seconds, warmup_seconds, Path(optimized))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
