"""Sealing, verification, retention and replay of the record."""
