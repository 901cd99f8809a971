"""Waiting out a broker or a database that is away, instead of giving work up."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from colm.models.errors import SettingsError, TransientError

logger = logging.getLogger(__name__)

R = TypeVar("R")

#: Well below RabbitMQ's consumer_timeout of 30 minutes, after which it would close the channel.
GIVE_UP_AFTER = 600.0
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0


def retry_transient(
    work: Callable[[], R],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    refused_for: float = 0.0,
) -> R:
    """The result of `work`, tried again after a TransientError with growing pauses.

    Holding the message back this way keeps it unacked and stops the worker from taking more, where
    a rejection would burn its deliveries in a second. Raises the last TransientError when nothing
    has changed for GIVE_UP_AFTER seconds; the message is then dead-lettered. A SettingsError is
    waited out for `refused_for` seconds: rights that somebody took away can be given back.
    """
    began, pause = clock(), FIRST_PAUSE
    while True:
        try:
            return work()
        except (TransientError, SettingsError) as error:
            most = refused_for if isinstance(error, SettingsError) else GIVE_UP_AFTER
            if clock() - began >= most:
                raise
            logger.warning("waiting %.1f s: %s", pause, error)
        sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
