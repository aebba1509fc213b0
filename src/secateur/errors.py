"""What can go wrong, told in one line: what, the value, the remedy.

SecateurError
├── SpecError       what was asked for cannot be (exit code 2)
├── GraphError      the net cannot be pruned as asked
├── StageError      a stage could not do its work
│   └── BrokenOffError  it was broken off from outside, and can go on from where it was
├── ExportError     a model file could not be written or read back
├── TrackingError   the tracking server did not take a result (the records still hold it)
└── StoppedError    a run was ended early, on purpose: what it could still find out is not worth its time
"""


class SecateurError(Exception):
    """Base of all errors that people can act on; its text is one line."""


class SpecError(SecateurError):
    """What was asked for cannot be."""


class GraphError(SecateurError):
    """The net cannot be pruned as asked."""


class StageError(SecateurError):
    """A stage could not do its work."""


class BrokenOffError(StageError):
    """A stage was broken off from outside; where it can go on, what it has is kept."""


class ExportError(SecateurError):
    """A model file could not be written or read back."""


class TrackingError(SecateurError):
    """The tracking server did not take a result."""


class StoppedError(SecateurError):
    """A run was ended early, on purpose."""


def require(condition: bool, line: str) -> None:
    """Raises ValueError(line), as values do that check themselves, unless the condition holds."""
    if not condition:
        raise ValueError(line)
