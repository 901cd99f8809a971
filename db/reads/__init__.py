"""Reads of the record for callers and operators."""
