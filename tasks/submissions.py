"""The Celery tasks `colm.submit` and `colm.attempt`: a coordinator takes what participants send."""

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

if TYPE_CHECKING:  # a caller imports this module too, and must stay light
    from colm.models.messages import StepKey, Submission
    from colm.models.receipt import Receipt
    from colm.tasks.interfaces import Coordinator

logger = logging.getLogger(__name__)

K = TypeVar("K", bound="StepKey")


@app.task(bind=True, name="colm.submit", shared=False)
def submit(self: Task[..., Any], *args: Any, **fields: Any) -> dict[str, str]:
    """Take what a participant sends for a step. Repeats are harmless, strangers are refused."""
    from colm.models.messages import Submission

    return _take(
        self, "submission", Submission, lambda c, told: c.submit(_theirs(told)), args, fields
    )


@app.task(bind=True, name="colm.attempt", shared=False)
def attempt(self: Task[..., Any], *args: Any, **fields: Any) -> dict[str, str]:
    """Take what a participant tells of a step that may have killed a worker."""
    from colm.models.messages import Attempt

    return _take(self, "attempt", Attempt, lambda c, told: c.attempt(told), args, fields)


def _take(
    task: Task[..., Any],
    name: str,
    kind: type[K],
    take: Callable[[Coordinator, K], Receipt],
    args: tuple[Any, ...],
    fields: dict[str, Any],
) -> dict[str, str]:
    """Hand what a participant sent to the coordinator, if it is what it should be, and its own."""
    from colm.models.errors import BadMessage, UnknownQuery
    from colm.models.messages import decode
    from colm.tasks.broker.dead_letter_origin import letter_id
    from colm.tasks.broker.topology import SUBMISSIONS, submission_key
    from colm.tasks.config.settings import settings

    came_by = str((task.request.delivery_info or {}).get("routing_key"))
    try:
        if not _submissions().try_acquire(came_by):
            most = settings().limits.submissions_per_second
            raise BadMessage(f"{came_by!r} submits more than {most:g} times a second")
        if args or set(fields) != {name}:
            article = "an" if name[0] in "aeiou" else "a"
            raise BadMessage(f"{article} {name} is one keyword argument called {name!r}")
        told = decode(kind, fields[name], what=f"the {name}")
        own = {submission_key(role, told.participant) for role in ("client", "server")}
        if came_by not in own:
            raise BadMessage(f"{told.participant!r} may not submit under {came_by!r}")
        receipt = _recorded(take, told)
        if receipt == "unasked":
            raise BadMessage(f"step {told.step_id} was never asked")
    except (BadMessage, UnknownQuery) as error:
        reason = str(error)
        known = letter_id(task.request.id, came_by, SUBMISSIONS, datetime.now(UTC))
        if not _letters.try_acquire(came_by):
            raise Ignore("enough letters of this participant are recorded") from error
        if denied := _letters.denied_count(came_by):
            reason += f" (not recorded before it: {denied} of this participant)"
        refuse(task, reason, fields, known)
    return {"receipt": receipt, "step": told.step_id}


def _theirs(told: Submission) -> Submission:
    """A submission as it came, but for a kind of failure that only coordinators may tell of."""
    from colm.models.client_reliability import NOT_THEIRS

    if told.error is None or told.error.kind not in NOT_THEIRS:
        return told
    return told.model_copy(update={"error": told.error.model_copy(update={"kind": "Failed"})})


def _recorded(take: Callable[[Coordinator, K], Receipt], told: K) -> Receipt:
    """What the coordinator says to it. Its step ends with the reason where it cannot be recorded.

    Raises BadMessage then, so that what came is kept as a dead letter, and TransientError where the
    database has been away for too long.
    """
    from colm.models.errors import BadMessage, TransientError, UnknownQuery, plainly

    coordinator = dependencies.coordinator()
    try:
        return retry_transient(lambda: take(coordinator, told))
    except (BadMessage, TransientError, UnknownQuery):
        raise
    except Exception as error:
        logger.exception("step %s: what came cannot be recorded", told.step_id)
        why = plainly(error)
    try:
        if coordinator.not_recorded(told, why) == "repeated":
            return "recorded"  # it was: what was to follow from it failed
    except Exception:  # it expires at its deadline
        logger.exception("step %s cannot be recorded as failed", told.step_id)
    raise BadMessage(f"it could not be recorded: {why}")


@cache
def _submissions() -> TokenBucket:
    """What each participant may submit to this process: two seconds' worth at once."""
    from colm.tasks.config.settings import settings

    per_second = settings().limits.submissions_per_second
    return TokenBucket(per_second, max(16.0, 2 * per_second))


_letters = dead_letter_bucket()
