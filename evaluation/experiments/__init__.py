"""Experiments: conditions, catalogue, reports."""
