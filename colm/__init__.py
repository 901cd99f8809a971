"""CoLM: many small language models share a few large ones, through a message queue."""
