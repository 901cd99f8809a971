"""Probe of this user's permissions on RabbitMQ at the start of a process.

The broker closes the channel of a worker that declares or publishes without permission, so a worker
probes first. A publish is probed with a `user_id` that is not ours: RabbitMQ checks permissions
before it, so 403 means no permission and 406 means that only the name was wrong. Nothing is
published either way, unless the user has the tag `impersonator`.
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
    """Permissions of this process that a worker can do without."""

    #: To declare its queues, and a queue for remote control.
    declare: bool = True
    #: To publish task events for Flower.
    events: bool = True


def probe_permissions(queues: Sequence[Queue]) -> Capabilities:
    """Declare or check `queues`, and configure Celery for this user's permissions.

    Retries while the broker is unreachable or its connection limit is reached. Raises SettingsError
    if retries cannot help, NoConsumer for a missing queue that this user may not declare.
    """
    if not broker().permissions:
        return Capabilities()
    declared = waited_for(settings(), lambda: _declared(queues))
    # One connection after the other: the user may have a connection limit.
    with connect_with_retry(settings()) as connection:
        events = may_publish(connection, EVENTS, "worker.heartbeat")
        # Celery declares a missing exchange, if it may.
        rights = Capabilities(declare=declared, events=declared if events is None else events)
        if not rights.declare:
            _check_there(connection, queues)
    if not rights.declare:
        logger.info("this user may not declare: remote control is off")
        event_exchange.no_declare = True
        app.conf.update(worker_enable_remote_control=False)
        for queue in queues:
            celery_queue: Any = app.amqp.queues[queue.name]  # the stubs leave the attribute out
            celery_queue.no_declare = True
    if not rights.events:
        logger.info("this user may not publish events: its tasks do not show in Flower")
    return rights


def connect_with_retry(
    site: Settings, sleep: Callable[[float], object] = time.sleep
) -> pika.BlockingConnection:
    """A connection, retried like `waited_for`."""
    return waited_for(site, lambda: pika.BlockingConnection(pika_parameters(site)), sleep)


def waited_for(
    site: Settings, work: Callable[[], R], sleep: Callable[[float], object] = time.sleep
) -> R:
    """The result of `work`, retried while the broker is away or a limit of it is reached.

    Raises SettingsError for an error that retries do not mend.
    """

    def attempt() -> R:
        try:
            return work()
        except (AMQPError, amqp.exceptions.AMQPError, OperationalError, OSError) as error:
            hint, url = error_hint(error, site.broker_url), site.broker_url
            # A broker that is starting gives a TRANSIENT_HINT, too.
            lasting = hint is not None and hint not in TRANSIENT_HINTS
            kind = SettingsError if lasting else TransientError
            raise kind(
                f"RabbitMQ at {display_address(url)}: {describe_error(error, url)}"
            ) from error

    backoff = Backoff(first=FIRST_PAUSE, longest=LONGEST_PAUSE, sleep=sleep)
    return retry_transient(attempt, backoff=backoff, give_up_after=math.inf)


def largest_message(connection: pika.BlockingConnection, size: int) -> int | None:
    """The broker's max_message_size in bytes if it is below `size`, else None.

    RabbitMQ checks the size before the `user_id`: nothing is published either way.
    """
    channel = connection.channel()
    channel.confirm_delivery()
    try:
        properties = pika.BasicProperties(user_id="nobody")
        channel.basic_publish("", "colm.rights", bytes(size), properties)
    except ChannelClosedByBroker as error:
        match = re.search(r"configured max size (\d+)", str(error))
        return int(match[1]) if match else None
    channel.close()
    return None


def may_publish(connection: pika.BlockingConnection, exchange: str, key: str) -> bool | None:
    """Whether the user may publish to `exchange` under `key`; None if there is no such exchange."""
    code = refusal(connection, lambda channel: _publish_as_nobody(channel, exchange, key))
    return None if code == NOT_FOUND else code != ACCESS_REFUSED


def may_read(connection: pika.BlockingConnection, queue: str) -> bool | None:
    """Whether the user may consume from `queue`; None if there is no such queue.

    The probe has an invalid argument, so that nothing is consumed.
    """
    code = refusal(
        connection,
        lambda channel: channel.basic_consume(
            queue, lambda *_: None, arguments={"x-priority": "none"}
        ),
    )
    return None if code == NOT_FOUND else code != ACCESS_REFUSED


def may_declare(connection: pika.BlockingConnection, queue: str) -> bool:
    """Whether the user may configure a queue of that name, which must not exist."""
    # Deleting a queue that does not exist is no error.
    return refusal(connection, lambda channel: channel.queue_delete(queue)) != ACCESS_REFUSED


def refusal(
    connection: pika.BlockingConnection, attempt: Callable[[BlockingChannel], object]
) -> int | None:
    """The AMQP reply code with which the broker refuses `attempt`; None if it accepts it."""
    channel = connection.channel()
    channel.confirm_delivery()
    try:
        attempt(channel)
    except ChannelClosedByBroker as error:
        return int(error.reply_code)
    channel.close()
    return None


def _publish_as_nobody(channel: BlockingChannel, exchange: str, key: str) -> None:
    # Flower would ignore it, should it arrive.
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
