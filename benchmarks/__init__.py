"""Benchmarks: `python -m benchmarks.FOLDER.PROGRAM [--quick] [--json PATH]`."""
