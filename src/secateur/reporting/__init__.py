"""Reads results, draws tables and pages."""
