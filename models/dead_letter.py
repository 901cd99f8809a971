"""The dead letter, as the record stores it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """An undeliverable message with the reason. `body` is the part that could be decoded."""

    #: Celery task id; a second letter with the same id is ignored.
    message_id: str
    task: str
    queue: str
    reason: str
    at: datetime
    body: str
    query_id: str | None = None
    step_id: str | None = None
