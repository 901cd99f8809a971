"""CoLM compared with the loops that it replaces."""
