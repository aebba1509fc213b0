"""THE door to mlflow: a view of the records, which stay the truth and can be replayed into it."""

from secateur.adapters.tracking.connection import prepare, serve
from secateur.adapters.tracking.replaying import replay, replay_device, settle_group
from secateur.adapters.tracking.sink import MlflowSink

__all__ = ["MlflowSink", "prepare", "replay", "replay_device", "serve", "settle_group"]
