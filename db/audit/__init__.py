"""Checkpoints, exports, verification and removal of the record."""
