"""Publishes of task messages: confirmed, mandatory, persistent, JSON.

On RabbitMQ a publish that returns is stored by a quorum; an unroutable or refused one raises.
Coordinators declare the topology. A caller declares the queue that it publishes to, which works
before a coordinator's first start; a client has no permission to declare.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from amqp.exceptions import (
    AccessRefused,
    AMQPError,
    ChannelError,
    MessageNacked,
    NotAllowed,
    PreconditionFailed,
)
from celery import Celery
from kombu import Queue
from kombu.exceptions import OperationalError

from colm.models.cancellation import CancelSteps
from colm.models.errors import (
    ColmError,
    ImageUnavailable,
    NoConsumer,
    Overloaded,
    SettingsError,
    TooLarge,
    TransientError,
)
from colm.models.messages import Attempt, Role, Step, Submission
from colm.tasks.broker.capabilities import broker
from colm.tasks.broker.retry import retry_transient
from colm.tasks.broker.topology import CANCELLATIONS_FANOUT, Topology, submission_key, topology_of
from colm.tasks.celery_app import app
from colm.tasks.config.settings import settings

#: Timeout of a publisher confirm (seconds). A broker with a memory or disk alarm confirms nothing.
CONFIRM_WITHIN = 10.0
#: AMQP reply codes.
NOT_FOUND, NO_ROUTE = 404, 312
#: Parts of the broker's messages about a limit of an operator, and about max_message_size.
LIMIT_REACHED, TOO_LARGE = "is reached", "message size"
#: Longest `kwargsrepr`: headers have to fit in one frame (characters).
MAX_SUMMARY = 4_000


@cache
def topology() -> Topology:
    """The topology of this process's settings."""
    return topology_of(settings())


def send_step(step: Step) -> None:
    """Publish a step to its participant's queue."""
    queue = topology().for_step(step)
    if images := {name for turn in step.messages for name in turn.images}:
        from colm.tasks.images.client import read_token

        try:
            token = read_token(images, step.deadline_at)
        except SettingsError as error:  # a retry does not mend it
            raise ImageUnavailable(str(error)) from error
        step = step.model_copy(update={"image_token": token})
    publish(
        app,
        f"colm.{step.act}",
        queue,
        task_id=step.step_id,
        kwargs={"step": step.model_dump(mode="json")},
        summary={
            "by": step.participant,
            "round": step.round,
            "turns": len(step.messages),
            **({"images": len(images)} if images else {}),
            "characters": sum(len(turn.content) for turn in step.messages),
            "max_new_tokens": step.sampling.max_new_tokens,
            "query": step.query_id,
        },
    )


def send_submission(submission: Submission, *, routing_key: str) -> None:
    """Publish a completion or an error to the coordinators."""
    publish(
        app,
        "colm.submit",
        topology().submissions(),
        routing_key=routing_key,
        task_id=f"{submission.step_id}.submit",
        kwargs={"submission": submission.model_dump(mode="json")},
        summary={
            "by": submission.participant,
            "act": submission.act,
            "round": submission.round,
            "status": "completed" if submission.completion else "failed",
            "query": submission.query_id,
        },
    )


def send_attempt(attempt: Attempt, *, routing_key: str) -> None:
    """Publish a redelivery of a step to the coordinators; returns after the confirm."""
    publish(
        app,
        "colm.attempt",
        topology().submissions(),
        routing_key=routing_key,
        task_id=f"{attempt.step_id}.{attempt.kind}.{attempt.attempt_id}",
        kwargs={"attempt": attempt.model_dump(mode="json")},
        summary={
            "by": attempt.participant,
            "act": attempt.act,
            "round": attempt.round,
            "attempt": attempt.kind,
            "query": attempt.query_id,
        },
    )


def send_cancellation(participant: str, cancellation: CancelSteps) -> None:
    """Publish a cancellation of steps to every process of a participant."""
    streams = broker().streams
    exchange = (
        topology().step_cancellations(participant).exchange if streams else CANCELLATIONS_FANOUT
    )
    try:
        with app.producer_or_acquire() as producer:
            producer.publish(
                cancellation.model_dump(mode="json"),
                exchange=exchange,
                routing_key=f"cancel.{participant}" if streams else "",
                declare=[] if streams else [exchange],
                serializer="json",
                confirm_timeout=CONFIRM_WITHIN,
            )
    except (AMQPError, MessageNacked, OperationalError, OSError) as error:
        raise TransientError(f"{participant} was not sent a cancellation: {error!r}") from error


def publish(
    celery: Celery,
    task: str,
    queue: Queue,
    *,
    task_id: str,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any],
    summary: Mapping[str, Any],
    routing_key: str | None = None,
    declare: bool = False,
    **options: Any,
) -> Any:
    """Publish one task message and return its AsyncResult.

    Flower and the logs show `summary` in place of the arguments. `declare` declares the queue
    first, if the user may. Raises NoConsumer for a missing queue, Overloaded for a full one,
    TooLarge above max_message_size, SettingsError if the broker refuses the user, the virtual host
    or the permission, TransientError if it cannot be reached or a limit is reached.
    """
    try:
        return celery.send_task(
            task,
            args=args,
            kwargs=dict(kwargs),
            task_id=task_id,
            queue=queue,  # type: ignore[arg-type]  # the stubs know names only
            exchange=queue.exchange.name,
            routing_key=routing_key or queue.routing_key,
            declare=[queue] if declare or not broker().stores_bindings else [],
            mandatory=True,
            confirm_timeout=CONFIRM_WITHIN,
            argsrepr="",
            kwargsrepr=", ".join(f"{k}={value!r}" for k, value in summary.items())[:MAX_SUMMARY],
            **options,
        )
    except (AMQPError, MessageNacked, OperationalError, OSError) as error:
        # Without the permission, or with other limits than the site's: the queue may exist.
        refused = isinstance(error, (AccessRefused, PreconditionFailed))
        if declare and refused and LIMIT_REACHED not in str(error):
            return publish(
                celery, task, queue, task_id=task_id, args=args, kwargs=kwargs, summary=summary,
                routing_key=routing_key, **options,
            )  # fmt: skip
        translated = _translate(error, queue)
        if translated is None:
            raise
        raise translated from error


def _translate(error: Exception, queue: Queue) -> ColmError | None:
    """Our error for a failed publish; None for an unknown one."""
    if isinstance(error, (AccessRefused, NotAllowed)) or LIMIT_REACHED in str(error):
        return _refused(error)
    if TOO_LARGE in str(error):
        return TooLarge(
            f"the message is too large for {queue.name}: {error}. Shorten it, or raise "
            "max_message_size in rabbitmq.conf"
        )
    if isinstance(error, ChannelError):
        if error.reply_code not in (NOT_FOUND, NO_ROUTE):
            return None
        return NoConsumer(
            f"queue {queue.name} does not exist on this broker: start 'colm coordinator' once, it "
            "declares the queues of every client and server in its colm.toml"
        )
    # kombu retries a nack like a lost connection, and wraps it when it gives up.
    if MessageNacked in {type(error), type(error.__cause__)}:
        return Overloaded(
            f"queue {queue.name} is full ({settings().limits.queue_length} messages); "
            "nothing was accepted, try again later"
        )
    return TransientError(f"the broker cannot be reached: {str(error) or repr(error)}")


def _refused(error: Exception) -> SettingsError | TransientError:
    """The error for a refusal, with a hint and the broker's message."""
    from colm.tasks.broker.connection import LIMIT, display_address, error_hint  # imports pika

    url = settings().broker_url
    hint = error_hint(error, url) or "correct the URL of the broker"
    kind = TransientError if hint == LIMIT else SettingsError
    return kind(f"the broker at {display_address(url)} refuses this: {hint}. It said: {error}")


def report_attempt(attempt: Attempt, role: Role) -> None:
    """Publish an attempt and wait for the broker's confirm."""
    key = submission_key(role, attempt.participant)
    retry_transient(lambda: send_attempt(attempt, routing_key=key))
