"""The Celery tasks of clients and servers: one task for each act, with one body.

A task blocks its thread on the process's engine, which batches across threads. Its message is acked
after the broker has confirmed the submission, so the steps of a killed worker are redelivered. A
redelivered step may have killed that worker: unless this process knows it, it is not generated but
reported to the coordinators as an attempt, and acked. An error is submitted as a failed step.
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

if TYPE_CHECKING:  # keeps a caller's import light
    from colm.models.messages import Attempt, Step, Submission

logger = logging.getLogger(__name__)

#: How long a publish is retried that the broker refuses for lack of a permission (seconds).
REFUSED_FOR = 30.0


def _run(task: Task[..., Any], args: tuple[Any, ...], fields: dict[str, Any]) -> dict[str, Any]:
    """Generate a step and submit the result; a summary for the log. Raises Reject."""
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
        # A participant cannot reach the record: the coordinators record dead letters.
        raise Reject(str(error), requeue=False) from error
    redelivered = bool((task.request.delivery_info or {}).get("redelivered"))
    result = _generate(task, step, redelivered=redelivered)
    key = submission_key(step.role, step.participant)
    if isinstance(result, Attempt):
        retry_transient(lambda: send_attempt(result, routing_key=key), refused_for=REFUSED_FOR)
        return {"step": step.step_id, "returned": result.attempt_id}
    try:
        retry_transient(lambda: send_submission(result, routing_key=key), refused_for=REFUSED_FOR)
    except (TransientError, SettingsError):
        raise  # a failure could not be sent either
    except Exception as error:
        logger.exception("step %s: its completion cannot be sent", step.step_id)
        failure = _failure(task, step, error, f"its completion was not sent: {error}")
        retry_transient(lambda: send_submission(failure, routing_key=key), refused_for=REFUSED_FOR)
        return _summary(step, failure)
    return _summary(step, result)


def _generate(task: Task[..., Any], step: Step, *, redelivered: bool) -> Submission | Attempt:
    """The generator's result; an unexpected error becomes a failed submission."""
    from colm.models.errors import EngineLost

    try:
        return dependencies.generator().generate(step, redelivered=redelivered)
    except EngineLost:
        raise  # this process is about to end; the step is redelivered
    except Exception as error:
        logger.exception("step %s cannot be generated", step.step_id)
        return _failure(task, step, error, str(error) or repr(error))


def _failure(task: Task[..., Any], step: Step, cause: Exception, reason: str) -> Submission:
    from colm.models.messages import MAX_REASON_CHARS, StepError, StepKey, Submission

    key = step.model_dump(include=set(StepKey.model_fields))
    error = StepError(kind=type(cause).__name__[:100], reason=reason[:MAX_REASON_CHARS])
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
    return _run(self, args, fields)


@step_task(name="colm.refine")
def refine(self: Task[..., Any], *args: Any, **fields: Any) -> dict[str, Any]:
    """A client's answer, revised with guidance."""
    return _run(self, args, fields)


@step_task(name="colm.select")
def select(self: Task[..., Any], *args: Any, **fields: Any) -> dict[str, Any]:
    """A server's selection of the clients that draft."""
    return _run(self, args, fields)


@step_task(name="colm.synthesize")
def synthesize(self: Task[..., Any], *args: Any, **fields: Any) -> dict[str, Any]:
    """A server's guidance on a panel of drafts."""
    return _run(self, args, fields)


@step_task(name="colm.plan")
def plan(self: Task[..., Any], *args: Any, **fields: Any) -> dict[str, Any]:
    """A short abstraction of the problem for the solver."""
    return _run(self, args, fields)


@step_task(name="colm.solve")
def solve(self: Task[..., Any], *args: Any, **fields: Any) -> dict[str, Any]:
    """A solution that follows a plan."""
    return _run(self, args, fields)


@step_task(name="colm.aggregate")
def aggregate(self: Task[..., Any], *args: Any, **fields: Any) -> dict[str, Any]:
    """One answer made of several."""
    return _run(self, args, fields)


@step_task(name="colm.judge")
def judge(self: Task[..., Any], *args: Any, **fields: Any) -> dict[str, Any]:
    """A comparison of two answers."""
    return _run(self, args, fields)


@step_task(name="colm.check")
def check(self: Task[..., Any], *args: Any, **fields: Any) -> dict[str, Any]:
    """A run of code against its visible tests."""
    return _run(self, args, fields)
