"""THE door to torch_pruning: which channels hang together, which go first, and how many until the budget is met."""

from secateur.adapters.channel_pruning.pruner import ChannelPruner

__all__ = ["ChannelPruner"]
