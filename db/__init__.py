"""What is remembered: tables, the append-only record, and the reads of the CLI and the auditor."""

if not __name__.startswith("colm."):
    raise ImportError("import colm.db: the folders of this repository are one package, colm")
