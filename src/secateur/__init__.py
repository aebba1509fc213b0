"""Makes YOLO segmentation and detection models fit the device they must run on."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from secateur.app.notebook import compose, run
    from secateur.errors import SecateurError
    from secateur.results import RunReport
    from secateur.specs import RunSpec

__version__ = "0.1.0"
__all__ = ["RunReport", "RunSpec", "SecateurError", "compose", "run"]

_PLACES = {
    "compose": "secateur.app.notebook",
    "run": "secateur.app.notebook",
    "SecateurError": "secateur.errors",
    "RunReport": "secateur.results",
    "RunSpec": "secateur.specs",
}
"""Where the names are that a notebook imports: looked up when they are asked for, as a device has no Hydra."""


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'secateur' has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)
