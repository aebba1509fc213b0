"""How a pruning target is approached, one schedule a file."""
