"""How good it is: data sets, graders, statistics and the report. No broker, no database."""

if not __name__.startswith("colm."):
    raise ImportError(
        "import colm.evaluation: the folders of this repository are one package, colm"
    )
