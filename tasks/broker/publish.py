"""The one way a task message leaves a process: confirmed, mandatory, persistent, JSON.

On RabbitMQ a publish that returns has been stored by a quorum of the queue; one that cannot be
routed or stored raises. The coordinator owns the topology there. A caller declares the one queue
that it asks in, so that a question is accepted before any coordinator was ever started; a client
has no right to declare anything. The embedded broker needs the declaration to route at all.
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

#: How long the broker may take to confirm one attempt: it confirms nothing while it has a memory or
#: disk alarm (seconds).
CONFIRM_WITHIN = 10.0


#: AMQP reply codes.
NOT_FOUND = 404


NO_ROUTE = 312


#: The broker's words for a limit that an operator has set, and for its max_message_size.
LIMIT_REACHED = "is reached"


TOO_LARGE = "message size"


#: Of the arguments in a message's headers, which have to fit in one frame (characters).
MOST_SHOWN = 4_000


@cache
def topology() -> Topology:
    """The topology of this process's settings."""
    return topology_of(settings())


def send_step(step: Step) -> None:
    """Put a step into its participant's queue."""
    queue = topology().for_step(step)
    if shown := {name for turn in step.messages for name in turn.images}:
        from colm.tasks.images.client import read_token

        try:
            token = read_token(shown, step.deadline_at)
        except SettingsError as error:  # which another try would not mend
            raise ImageUnavailable(str(error)) from error
        step = step.model_copy(update={"image_token": token})
    publish(
        app,
        f"colm.{step.act}",
        queue,
        task_id=step.step_id,
        kwargs={"step": step.model_dump(mode="json")},
        shown={
            "by": step.participant,
            "round": step.round,
            "turns": len(step.messages),
            **({"images": len(shown)} if shown else {}),
            "characters": sum(len(turn.content) for turn in step.messages),
            "max_new_tokens": step.sampling.max_new_tokens,
            "query": step.query_id,
        },
    )


def send_submission(submission: Submission, *, routing_key: str) -> None:
    """Hand a completion, or the reason that there is none, to the coordinators."""
    publish(
        app,
        "colm.submit",
        topology().submissions(),
        routing_key=routing_key,
        task_id=f"{submission.step_id}.submit",
        kwargs={"submission": submission.model_dump(mode="json")},
        shown={
            "by": submission.participant,
            "act": submission.act,
            "round": submission.round,
            "status": "completed" if submission.completion else "failed",
            "query": submission.query_id,
        },
    )


def send_attempt(attempt: Attempt, *, routing_key: str) -> None:
    """Tell the coordinators of a step that may have killed a worker; returns once confirmed."""
    publish(
        app,
        "colm.attempt",
        topology().submissions(),
        routing_key=routing_key,
        task_id=f"{attempt.step_id}.{attempt.kind}.{attempt.attempt_id}",
        kwargs={"attempt": attempt.model_dump(mode="json")},
        shown={
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
    shown: Mapping[str, Any],
    routing_key: str | None = None,
    declare: bool = False,
    **options: Any,
) -> Any:
    """Publish one task message and return its AsyncResult.

    `shown` is all that Flower and the logs see of the arguments. Raises NoConsumer when there is no
    such queue, Overloaded when the queue is full, TooLarge when the broker takes no such message,
    SettingsError when it refuses the user, the virtual host or the right, TransientError when it
    cannot be reached or a limit on connections is reached. With `declare` the queue is made first,
    if it is not there and the broker lets us.
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
            kwargsrepr=", ".join(f"{key}={value!r}" for key, value in shown.items())[:MOST_SHOWN],
            **options,
        )
    except (AMQPError, MessageNacked, OperationalError, OSError) as error:
        # No right to declare, or the site's limits are not ours: the queue is there all the same.
        refused = isinstance(error, (AccessRefused, PreconditionFailed))
        if declare and refused and LIMIT_REACHED not in str(error):
            return publish(
                celery, task, queue, task_id=task_id, args=args, kwargs=kwargs, shown=shown,
                routing_key=routing_key, **options,
            )  # fmt: skip
        found = _told(error, queue)
        if found is None:
            raise
        raise found from error


def _told(error: Exception, queue: Queue) -> ColmError | None:
    """What a failed publish means; None where nobody has met that yet."""
    if isinstance(error, (AccessRefused, NotAllowed)) or LIMIT_REACHED in str(error):
        return _refused(error)
    if TOO_LARGE in str(error):
        return TooLarge(
            f"the broker takes no message of this size for {queue.name}: {error}. Say less at "
            "once, or raise max_message_size in its rabbitmq.conf"
        )
    if isinstance(error, ChannelError):
        if error.reply_code not in (NOT_FOUND, NO_ROUTE):
            return None
        return NoConsumer(
            f"queue {queue.name} does not exist on this broker: start 'colm coordinator' once, it "
            "declares the queues of every client and server in its colm.toml"
        )
    # kombu takes a refusal for a lost connection, tries again, and gives up like this.
    if MessageNacked in {type(error), type(error.__cause__)}:
        return Overloaded(
            f"queue {queue.name} is full ({settings().limits.queue_length} messages); "
            "nothing was accepted, ask again later"
        )
    return TransientError(f"the broker cannot be reached: {str(error) or repr(error)}")


def _refused(error: Exception) -> SettingsError | TransientError:
    """What the user of the broker's URL can do about a refusal, and the broker's own words."""
    from colm.tasks.broker.connection import (  # loads pika, which a caller needs only here
        LIMIT,
        display_address,
        error_hint,
    )

    url = settings().broker_url
    what = error_hint(error, url) or "correct the URL of the broker"
    kind = TransientError if what == LIMIT else SettingsError
    return kind(f"the broker at {display_address(url)} refuses this: {what}. It said: {error}")


def report_attempt(attempt: Attempt, role: Role) -> None:
    """Publish an attempt and wait for the broker's confirm."""
    key = submission_key(role, attempt.participant)
    retry_transient(lambda: send_attempt(attempt, routing_key=key))
