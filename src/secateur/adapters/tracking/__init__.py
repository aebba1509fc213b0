"""THE door to mlflow: a view of the records, which stay the truth and can be replayed into it."""

from secateur.adapters.tracking.connection import prepare
from secateur.adapters.tracking.pages import first_page, serve, table_page
from secateur.adapters.tracking.reading import runs_in
from secateur.adapters.tracking.registering import Registered, register
from secateur.adapters.tracking.replaying import replay, replay_device, settle_group
from secateur.adapters.tracking.sink import MlflowSink

__all__ = [
    "MlflowSink",
    "Registered",
    "first_page",
    "prepare",
    "register",
    "replay",
    "replay_device",
    "runs_in",
    "serve",
    "settle_group",
    "table_page",
]
