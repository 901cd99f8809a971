"""Programs that measure CoLM: `python -m benchmarks.NAME [--quick] [--json PATH]`."""
