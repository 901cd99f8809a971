"""Experiments on a running site."""
