"""Tuning of a participant's model on this machine."""
