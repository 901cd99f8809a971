"""The Celery app. Light to import: its configuration is read at the first use of `app.conf`."""

from __future__ import annotations

from celery import Celery

app = Celery(
    "colm",
    config_source="tasks.celery_config",
    include=["tasks.queries", "tasks.generation", "tasks.evaluations", "tasks.cancelling"],
    set_as_current=False,
)
