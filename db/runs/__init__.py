"""The record of evaluation runs."""
