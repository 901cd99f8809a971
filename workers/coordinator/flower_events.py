"""Celery events by which Flower shows a query as succeeded or failed."""

from __future__ import annotations

import logging

from amqp.exceptions import AMQPError
from kombu.exceptions import OperationalError

from colm.models.messages import Answer
from colm.tasks.celery_app import app
from colm.workers.consumer.worker import worker_name

logger = logging.getLogger(__name__)


class FlowerAnnouncer:
    """Sends the end of a query as an event: Flower shows its ask as succeeded or failed."""

    def refused(self, query_id: str, reason: str) -> None:
        self._send("task-failed", query_id, exception=f"InvalidAsk({reason!r})", traceback="")

    def ended(self, answer: Answer) -> None:
        if answer.status == "failed":
            reason = f"QueryFailed({answer.reason!r})"
            self._send("task-failed", answer.query_id, exception=reason, traceback="")
            return
        tokens = answer.tokens.prompt + answer.tokens.completion
        result = f"answered by {answer.chosen}, rounds: {answer.rounds}, tokens: {tokens}"
        self._send("task-succeeded", answer.query_id, result=result, runtime=answer.seconds)

    def _send(self, kind: str, query_id: str, **fields: object) -> None:
        try:
            with app.events.default_dispatcher(hostname=worker_name("coordinator")) as events:
                events.send(kind, uuid=query_id, **fields)
        except (OperationalError, AMQPError, OSError) as error:
            logger.warning("no event was sent for query %s: %s", query_id, error)
