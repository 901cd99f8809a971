"""Connections, topology and messages of the broker."""
