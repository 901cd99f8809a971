"""Quality of answers: data sets, graders, statistics, reports. No broker, no database."""

if not __name__.startswith("colm."):
    raise ImportError(
        "import colm.evaluation: the folders of this repository are one package, colm"
    )
