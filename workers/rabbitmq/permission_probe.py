"""What this process's user may do on RabbitMQ, found out at its start without leaving a trace.

A participant with a user of its own may declare nothing and may not be controlled from afar; it may
or may not show its tasks in Flower. A worker that did any of it unasked would be thrown out by the
broker, so it asks first. A right to publish is tried with a `user_id` that is not ours: RabbitMQ
checks rights before it checks that, so a refusal by 403 means no right, one by 406 means that only
the false name was wrong. Nothing is published either way (unless the user has the tag
`impersonator`, which none should have).
"""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import amqp.exceptions
import pika
from amqp.exceptions import AccessRefused, PreconditionFailed
from celery.events.event import event_exchange
from kombu import Queue
from kombu.exceptions import OperationalError
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError, ChannelClosedByBroker

from colm.models.backoff import Backoff
from colm.models.errors import ColmError, NoConsumer, SettingsError, TransientError
from colm.tasks.broker.capabilities import broker
from colm.tasks.broker.connection import (
    TRANSIENT_HINTS,
    declare_hint,
    describe_error,
    display_address,
    error_hint,
    pika_parameters,
)
from colm.tasks.broker.publish import NOT_FOUND
from colm.tasks.broker.retry import retry_transient
from colm.tasks.broker.topology import declare
from colm.tasks.celery_app import app
from colm.tasks.config.settings import Settings, settings
from colm.workers.rabbitmq.permissions import EVENTS

logger = logging.getLogger(__name__)

R = TypeVar("R")

#: Pauses between attempts to reach the broker (seconds): the first, and the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0
#: AMQP reply codes.
ACCESS_REFUSED, PRECONDITION_FAILED = 403, 406


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a worker does only where it may."""

    #: Declare its queues, and have a queue for remote control.
    declare: bool = True
    #: Tell Flower of its tasks.
    events: bool = True


def probe_permissions(queues: Sequence[Queue]) -> Capabilities:
    """Make sure that `queues` exist, and set Celery up for what this user may do.

    Waits for a broker that is away, or whose limit on connections is reached. Raises SettingsError
    where waiting would not help, NoConsumer where a queue is missing that this user may not make.
    """
    if not broker().permissions:
        return Capabilities()
    declared = waited_for(settings(), lambda: _declared(queues))
    # One connection after the other: the user may not be allowed many.
    with connect_with_retry(settings()) as connection:
        shown = may_publish(connection, EVENTS, "worker.heartbeat")
        # Where there is no such exchange yet, Celery makes it, if it may.
        rights = Capabilities(declare=declared, events=declared if shown is None else shown)
        if not rights.declare:
            _check_there(connection, queues)
    if not rights.declare:
        logger.info("this user may not declare: remote control is off")
        event_exchange.no_declare = True
        app.conf.update(worker_enable_remote_control=False)
        for queue in queues:
            known: Any = app.amqp.queues[queue.name]  # the stubs leave the attribute out
            known.no_declare = True
    if not rights.events:
        logger.info("this user may not publish events: its tasks do not show in Flower")
    return rights


def connect_with_retry(
    found: Settings, sleep: Callable[[float], object] = time.sleep
) -> pika.BlockingConnection:
    """A connection, as soon as the broker takes one. Raises SettingsError where it never will."""
    return waited_for(found, lambda: pika.BlockingConnection(pika_parameters(found)), sleep)


def waited_for(
    found: Settings, work: Callable[[], R], sleep: Callable[[float], object] = time.sleep
) -> R:
    """The result of `work`, retried while the broker is away or a limit of it is reached.

    Raises SettingsError for an error that retries do not mend.
    """

    def attempt() -> R:
        try:
            return work()
        except (AMQPError, amqp.exceptions.AMQPError, OperationalError, OSError) as error:
            hint, url = error_hint(error, found.broker_url), found.broker_url
            # A broker that is starting gives a TRANSIENT_HINT, too.
            lasting = hint is not None and hint not in TRANSIENT_HINTS
            kind = SettingsError if lasting else TransientError
            raise kind(
                f"RabbitMQ at {display_address(url)}: {describe_error(error, url)}"
            ) from error

    backoff = Backoff(first=FIRST_PAUSE, longest=LONGEST_PAUSE, sleep=sleep)
    return retry_transient(attempt, backoff=backoff, give_up_after=math.inf)


def largest_message(connection: pika.BlockingConnection, wanted: int) -> int | None:
    """The broker's max_message_size in bytes, where it is below `wanted`; None where it is not.

    RabbitMQ checks the size first, then a name that is not ours: nothing is published either way.
    """
    channel = connection.channel()
    channel.confirm_delivery()
    try:
        properties = pika.BasicProperties(user_id="nobody")
        channel.basic_publish("", "colm.rights", bytes(wanted), properties)
    except ChannelClosedByBroker as error:
        found = re.search(r"configured max size (\d+)", str(error))
        return int(found[1]) if found else None
    channel.close()
    return None


def may_publish(connection: pika.BlockingConnection, exchange: str, key: str) -> bool | None:
    """Whether the user may publish to `exchange` under `key`; None where there is no such one."""
    code = refusal(connection, lambda channel: _publish_as_nobody(channel, exchange, key))
    return None if code == NOT_FOUND else code != ACCESS_REFUSED


def may_read(connection: pika.BlockingConnection, queue: str) -> bool | None:
    """Whether the user may consume from `queue`; None where there is no such one.

    Asked with an argument that no queue accepts, so that nothing is consumed.
    """
    code = refusal(
        connection,
        lambda channel: channel.basic_consume(
            queue,
            lambda *_: None,
            arguments={"x-priority": "none"},
        ),
    )
    return None if code == NOT_FOUND else code != ACCESS_REFUSED


def may_declare(connection: pika.BlockingConnection, queue: str) -> bool:
    """Whether the user may configure a queue of that name, of which there must be none."""
    return (
        refusal(connection, lambda channel: channel.queue_delete(queue)) != ACCESS_REFUSED
    )  # deleting what is not there is no error


def refusal(
    connection: pika.BlockingConnection, attempt: Callable[[BlockingChannel], object]
) -> int | None:
    """The code with which the broker refuses `attempt`; None where it does not."""
    channel = connection.channel()
    channel.confirm_delivery()
    try:
        attempt(channel)
    except ChannelClosedByBroker as error:
        return int(error.reply_code)
    channel.close()
    return None


def _publish_as_nobody(channel: BlockingChannel, exchange: str, key: str) -> None:
    # What Flower would make of it, should it ever arrive: nothing.
    body = b'{"type": "colm-rights", "hostname": "colm", "timestamp": 0}'
    properties = pika.BasicProperties(user_id="nobody", content_type="application/json")
    channel.basic_publish(exchange, key, body, properties)


def _declared(queues: Sequence[Queue]) -> bool:
    with app.connection_for_write() as connection:
        try:
            declare(connection.default_channel, queues)
        except AccessRefused:
            return False
        except PreconditionFailed as error:
            raise ColmError(f"{declare_hint(error)}. RabbitMQ said: {error.reply_text}") from error
    return True


def _check_there(connection: pika.BlockingConnection, queues: Sequence[Queue]) -> None:
    for queue in queues:
        if refusal(
            connection, partial(BlockingChannel.queue_declare, queue=queue.name, passive=True)
        ):
            raise NoConsumer(
                f"queue {queue.name} does not exist, and this user may not make it: start 'colm "
                "coordinator' with this participant in its colm.toml, or use 'colm client add'"
            )
