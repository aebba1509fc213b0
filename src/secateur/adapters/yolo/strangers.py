"""Why a checkpoint is not opened: it is a pickle, which is a program, and only one that builds a net is run unasked.

Ultralytics loads weights-only and lets through what its own nets are made of; here its refusals are put into words.
"""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import torch

REMEDY = "if you trust whoever made it, add --trust"


def refusal(weights: Path, error: Exception) -> str | None:
    """In one line, what in the file could run code; None where `error`, which its loading ended with, has another
    cause. Nothing of the file is run."""
    if not _was_held_back(error):
        return None
    if zipfile.is_zipfile(weights):
        return f"{weights} could run code: it {_what_it_does(weights)}; {REMEDY}"
    if _is_pickle(weights):
        return f"{weights} could run code: it is a bare pickle, as before torch 1.6; save it anew, or, {REMEDY}"
    return None


def _was_held_back(error: Exception) -> bool:
    """By the unpickler, whose own words Ultralytics replaces."""
    return isinstance(error.__cause__ or error, pickle.UnpicklingError)


def _is_pickle(weights: Path) -> bool:
    with weights.open("rb") as file:
        return file.read(1) == pickle.PROTO


def _what_it_does(weights: Path) -> str:
    """Without the classes that Ultralytics has just let through."""
    try:
        named = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(weights))
    except pickle.UnpicklingError:  # of a kind that torch does not write
        named = []
    if not named:
        return "does more than build an Ultralytics net"
    return f"names {named[0]}{f' and {len(named) - 1} more' if named[1:] else ''}, of which no Ultralytics net is made"
