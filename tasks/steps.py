"""What clients and servers run: one task a step, all with the same body.

A task blocks its thread on the process's engine, which batches across the threads. The message is
acked after the submission is confirmed by the broker, so a killed worker loses nothing: its steps
are delivered again. What was delivered again may have killed that worker: unless this process knows
it, it is told to the coordinators instead of being generated, and then acked. What goes wrong here
is submitted as the reason why there is no completion, so that nobody waits for one.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from celery import Task
from celery.exceptions import Reject

from colm.tasks import dependencies
from colm.tasks.broker.retry import retry_transient
from colm.tasks.celery_app import app

if TYPE_CHECKING:  # a caller imports this module too, and must stay light
    from colm.models.messages import Attempt, Step, Submission

logger = logging.getLogger(__name__)

#: How long the broker may refuse what we send for want of a right, which may be given back
#: (seconds).
REFUSED_FOR = 30.0


def _generate(
    task: Task[..., Any], args: tuple[Any, ...], fields: dict[str, Any]
) -> dict[str, Any]:
    from colm.models.errors import BadMessage, SettingsError, TransientError
    from colm.models.messages import Attempt, Step, decode
    from colm.tasks.broker.publish import send_attempt, send_submission
    from colm.tasks.broker.topology import submission_key

    try:
        if args or set(fields) != {"step"}:
            raise BadMessage("a step is one keyword argument called 'step'")
        step = decode(Step, fields["step"], what="the step")
        if f"colm.{step.act}" != task.name or not dependencies.generator().serves(step):
            raise BadMessage(f"step {step.step_id} is not for this worker")
    except BadMessage as error:
        # Participants cannot reach the record; the broker's dead letters are recorded there.
        raise Reject(str(error), requeue=False) from error
    redelivered = bool((task.request.delivery_info or {}).get("redelivered"))
    found = _generated(task, step, redelivered=redelivered)
    key = submission_key(step.role, step.participant)
    if isinstance(found, Attempt):
        retry_transient(lambda: send_attempt(found, routing_key=key), refused_for=REFUSED_FOR)
        return {"step": step.step_id, "returned": found.attempt_id}
    try:
        # A completion is dear: a broker that is away or full is waited for.
        retry_transient(lambda: send_submission(found, routing_key=key), refused_for=REFUSED_FOR)
    except (TransientError, SettingsError):
        raise  # nothing else would come through either
    except Exception as error:
        logger.exception("step %s: its completion cannot be sent", step.step_id)
        why = _failure(task, step, type(error).__name__, f"its completion was not sent: {error}")
        retry_transient(lambda: send_submission(why, routing_key=key), refused_for=REFUSED_FOR)
        return _summary(step, why)
    return _summary(step, found)


def _generated(
    task: Task[..., Any],
    step: Step,
    *,
    redelivered: bool,
) -> Submission | Attempt:
    """What the generator makes of the step; a fault of ours is a reason like any other."""
    from colm.models.errors import EngineLost

    try:
        return dependencies.generator().generate(step, redelivered=redelivered)
    except EngineLost:
        raise  # this process is about to end, and another does the step
    except Exception as error:
        logger.exception("step %s cannot be generated", step.step_id)
        return _failure(task, step, type(error).__name__, str(error) or repr(error))


def _failure(task: Task[..., Any], step: Step, kind: str, reason: str) -> Submission:
    from colm.models.messages import MAX_REASON_CHARS, StepError, StepKey, Submission

    key = step.model_dump(include=set(StepKey.model_fields))
    error = StepError(kind=kind[:100], reason=reason[:MAX_REASON_CHARS])
    return Submission(**key, worker=str(task.request.hostname)[:200], error=error)


def _summary(step: Step, submission: Submission) -> dict[str, Any]:
    completion = submission.completion
    if completion is None:
        assert submission.error is not None
        return {"failed": submission.error.kind, "step": step.step_id}
    return {
        "tokens": completion.completion_tokens,
        "seconds": round(completion.total_s, 3),
        "batch": completion.batch_size,
        "step": step.step_id,
    }


step_task = partial(app.task, bind=True, shared=False)


@step_task(name="colm.draft")
def draft(self: Task[..., Any], *args: Any, **fields: Any) -> dict[str, Any]:
    """A participant's own answer."""
    return _generate(self, args, fields)


@step_task(name="colm.refine")
def refine(self: Task[..., Any], *args: Any, **fields: Any) -> dict[str, Any]:
    """A client's answer, revised with guidance."""
    return _generate(self, args, fields)


@step_task(name="colm.select")
def select(self: Task[..., Any], *args: Any, **fields: Any) -> dict[str, Any]:
    """A server's selection of the clients that draft."""
    return _generate(self, args, fields)


@step_task(name="colm.synthesize")
def synthesize(self: Task[..., Any], *args: Any, **fields: Any) -> dict[str, Any]:
    """A server's guidance on a panel of drafts."""
    return _generate(self, args, fields)


@step_task(name="colm.plan")
def plan(self: Task[..., Any], *args: Any, **fields: Any) -> dict[str, Any]:
    """A short abstraction of the problem for the solver."""
    return _generate(self, args, fields)


@step_task(name="colm.solve")
def solve(self: Task[..., Any], *args: Any, **fields: Any) -> dict[str, Any]:
    """A solution that follows a plan."""
    return _generate(self, args, fields)


@step_task(name="colm.aggregate")
def aggregate(self: Task[..., Any], *args: Any, **fields: Any) -> dict[str, Any]:
    """One answer made of several."""
    return _generate(self, args, fields)


@step_task(name="colm.judge")
def judge(self: Task[..., Any], *args: Any, **fields: Any) -> dict[str, Any]:
    """A comparison of two answers."""
    return _generate(self, args, fields)


@step_task(name="colm.check")
def check(self: Task[..., Any], *args: Any, **fields: Any) -> dict[str, Any]:
    """A run of code against its visible tests."""
    return _generate(self, args, fields)
