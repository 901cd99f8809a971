"""Example programs; not installed."""
