"""The Celery tasks `colm.submit` and `colm.attempt`, which coordinators run for participants."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from celery import Task
from celery.exceptions import Ignore

from colm.tasks import dependencies
from colm.tasks.broker.rate_limit import TokenBucket, dead_letter_bucket
from colm.tasks.broker.retry import retry_transient
from colm.tasks.celery_app import app
from colm.tasks.rejection import refuse

if TYPE_CHECKING:  # keeps a caller's import light
    from colm.models.messages import StepKey, Submission
    from colm.models.receipt import Receipt
    from colm.tasks.interfaces import Coordinator

logger = logging.getLogger(__name__)

K = TypeVar("K", bound="StepKey")


@app.task(bind=True, name="colm.submit", shared=False)
def submit(self: Task[..., Any], *args: Any, **fields: Any) -> dict[str, str]:
    """Record the result of a step. Repeats are harmless; unknown senders are refused."""
    from colm.models.messages import Submission

    return _take(self, "submission", Submission, lambda c, s: c.submit(_demoted(s)), args, fields)


@app.task(bind=True, name="colm.attempt", shared=False)
def attempt(self: Task[..., Any], *args: Any, **fields: Any) -> dict[str, str]:
    """Record a redelivery of a step that may have killed a worker."""
    from colm.models.messages import Attempt

    return _take(self, "attempt", Attempt, lambda c, a: c.attempt(a), args, fields)


def _take(
    task: Task[..., Any],
    name: str,
    kind: type[K],
    take: Callable[[Coordinator, K], Receipt],
    args: tuple[Any, ...],
    fields: dict[str, Any],
) -> dict[str, str]:
    """Validate a participant's message and its sender, then pass it to the coordinator."""
    from colm.models.errors import BadMessage, UnknownQuery
    from colm.models.messages import decode
    from colm.tasks.broker.dead_letter_origin import letter_id
    from colm.tasks.broker.topology import SUBMISSIONS, submission_key
    from colm.tasks.config.settings import settings

    routing_key = str((task.request.delivery_info or {}).get("routing_key"))
    try:
        if not _submissions().try_acquire(routing_key):
            limit = settings().limits.submissions_per_second
            raise BadMessage(f"{routing_key!r} submits more than {limit:g} times a second")
        if args or set(fields) != {name}:
            article = "an" if name[0] in "aeiou" else "a"
            raise BadMessage(f"{article} {name} is one keyword argument called {name!r}")
        message = decode(kind, fields[name], what=f"the {name}")
        own = {submission_key(role, message.participant) for role in ("client", "server")}
        if routing_key not in own:
            raise BadMessage(f"{message.participant!r} may not submit under {routing_key!r}")
        receipt = _record(take, message)
        if receipt == "unasked":
            raise BadMessage(f"step {message.step_id} was never sent to {message.participant!r}")
    except (BadMessage, UnknownQuery) as error:
        reason = str(error)
        message_id = letter_id(task.request.id, routing_key, SUBMISSIONS, datetime.now(UTC))
        if not _letters.try_acquire(routing_key):
            raise Ignore("too many dead letters of this participant") from error
        if denied := _letters.denied_count(routing_key):
            reason += f" (not recorded before it: {denied} of this participant)"
        refuse(task, reason, fields, message_id)
    return {"receipt": receipt, "step": message.step_id}


def _demoted(submission: Submission) -> Submission:
    """The submission, with kind "Failed" for an error kind that is reserved for coordinators."""
    from colm.models.client_reliability import SITE_FAILURES

    error = submission.error
    if error is None or error.kind not in SITE_FAILURES:
        return submission
    return submission.model_copy(update={"error": error.model_copy(update={"kind": "Failed"})})


def _record(take: Callable[[Coordinator, K], Receipt], message: K) -> Receipt:
    """The coordinator's receipt.

    A message that cannot be recorded fails its step and raises BadMessage, so that it is
    dead-lettered. Raises TransientError if the database is away for too long.
    """
    from colm.models.errors import BadMessage, TransientError, UnknownQuery, plainly

    coordinator = dependencies.coordinator()
    try:
        return retry_transient(lambda: take(coordinator, message))
    except (BadMessage, TransientError, UnknownQuery):
        raise
    except Exception as error:
        logger.exception("step %s: its message cannot be recorded", message.step_id)
        reason = plainly(error)
    try:
        if coordinator.not_recorded(message, reason) == "repeated":
            return "recorded"  # the row was stored; an effect of it failed
    except Exception:  # it expires at its deadline
        logger.exception("step %s cannot be recorded as failed", message.step_id)
    raise BadMessage(f"it could not be recorded: {reason}")


@cache
def _submissions() -> TokenBucket:
    """Rate limit of each participant; bursts of two seconds."""
    from colm.tasks.config.settings import settings

    per_second = settings().limits.submissions_per_second
    return TokenBucket(per_second, max(16.0, 2 * per_second))


_letters = dead_letter_bucket()
