"""The record in PostgreSQL or SQLite: tables, append-only writes, reads, audit."""

if not __name__.startswith("colm."):
    raise ImportError("import colm.db: the folders of this repository are one package, colm")
