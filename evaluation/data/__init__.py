"""Data sets: loading, formats, examples."""
