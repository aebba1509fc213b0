"""Criteria that say which channels matter, one a file."""
