"""The dead letter: an unusable message with the reason, as the record keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """A message given up on, with the reason. `body` is what could be read of it."""

    #: The Celery task id; a second letter with the same id changes nothing.
    message_id: str
    task: str
    queue: str
    reason: str
    at: datetime
    body: str
    query_id: str | None = None
    step_id: str | None = None
