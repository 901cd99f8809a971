"""How good it is: data sets, graders, statistics and the report. No broker, no database."""
