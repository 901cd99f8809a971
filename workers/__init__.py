"""The processes of a site, the command line and the local stack.

The only folder that wires settings, engines, the record and the broker together.
"""

if not __name__.startswith("colm."):
    raise ImportError("import colm.workers: the folders of this repository are one package, colm")
