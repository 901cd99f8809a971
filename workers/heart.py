"""The sign of life that Flower sees, sent once and not insisted on.

Celery sends it with retries, in the loop that takes tasks. When the connection for events is gone,
as after the process was frozen for longer than two heartbeats, kombu connects anew and then
declares the exchange on the channel that is closed; that fails like a lost connection, and so on
without end: the worker never takes a task again. Sent once, what fails is kept and goes out with
the next connection, which the consumer makes as soon as it sees that the old one is gone.
"""

from __future__ import annotations

from typing import Any

from celery.worker import heartbeat
from celery.worker.consumer import heart


class Beat(heartbeat.Heart):
    """Celery's, without retries."""

    def _send(
        self,
        event: str,
        retry: bool = False,  # noqa: ARG002  # Celery passes it
    ) -> Any:
        return super()._send(event, retry=False)  # type: ignore[misc]  # the stubs leave it out


class PlainHeart(heart.Heart):
    """The step of a consumer that starts a Beat."""

    def start(self, c: Any) -> None:
        interval = self.heartbeat_interval  # type: ignore[attr-defined]  # nor this
        c.heart = Beat(c.timer, c.event_dispatcher, interval)
        c.heart.start()
