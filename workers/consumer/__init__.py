"""Celery bootsteps, consumers and message validation that processes share."""
