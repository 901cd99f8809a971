"""What runs: every process with a main, the CLI and the local stack.

The only place that wires settings, engines, the record and the broker together.
"""

if not __name__.startswith("colm."):
    raise ImportError("import colm.workers: the folders of this repository are one package, colm")
