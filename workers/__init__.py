"""What runs: every process with a main, the CLI and the local stack.

The only place that wires settings, engines, the record and the broker together.
"""
