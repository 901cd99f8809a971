"""Retries of work that needs a broker or a database which is away."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from colm.models.backoff import Backoff
from colm.models.errors import SettingsError, TransientError

R = TypeVar("R")

#: Well below RabbitMQ's consumer_timeout of 30 minutes, which closes the channel (seconds).
GIVE_UP_AFTER = 600.0
#: Pauses between attempts (seconds): the first, and the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0


def retry_transient(
    work: Callable[[], R],
    *,
    backoff: Backoff | None = None,
    give_up_after: float | None = None,
    refused_for: float = 0.0,
) -> R:
    """The result of `work`, retried after a TransientError.

    Raises the last error after `give_up_after` seconds (None: GIVE_UP_AFTER). The message stays
    unacked meanwhile and the worker takes no other; a rejection would use up its deliveries within
    a second. A SettingsError is retried for `refused_for` seconds: an operator may restore a
    permission.
    """

    def limit_s(error: Exception) -> float:
        if isinstance(error, TransientError):
            return GIVE_UP_AFTER if give_up_after is None else give_up_after
        return refused_for if isinstance(error, SettingsError) else 0.0

    return (backoff or Backoff(first=FIRST_PAUSE, longest=LONGEST_PAUSE)).retry(work, limit_s)
