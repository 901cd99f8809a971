"""Capabilities of the configured broker. Code tests a capability, never the kind of broker."""

from __future__ import annotations

from dataclasses import dataclass

from colm.tasks.config.settings import Settings, settings


@dataclass(frozen=True, kw_only=True)
class Broker:
    """Capabilities of one kind of broker."""

    name: str
    #: It speaks AMQP: pika connects, and a passive declare counts messages and consumers.
    amqp: bool = False
    #: It confirms a publish once the message is stored.
    publisher_confirms: bool = False
    #: It routes by the bindings it stores; without, every publisher declares the queue first.
    stores_bindings: bool = False
    #: It redelivers unacked messages when a connection ends; without, after a timeout.
    redelivers_unacked: bool = False
    #: It moves rejected and undeliverable messages to a dead-letter queue.
    dead_letters: bool = False
    #: It has streams, which every consumer reads from an offset of its own.
    streams: bool = False
    #: It has users, with permissions and limits on connections.
    permissions: bool = False
    #: It has an HTTP API for users, permissions and queues.
    management_api: bool = False
    #: What kombu raises on a lost connection beside its `connection_errors`.
    connection_errors: tuple[type[BaseException], ...] = ()


RABBITMQ = Broker(
    name="RabbitMQ",
    amqp=True,
    publisher_confirms=True,
    stores_bindings=True,
    redelivers_unacked=True,
    dead_letters=True,
    streams=True,
    permissions=True,
    management_api=True,
)
#: An ack on a channel whose broker died raises AttributeError; the message is redelivered.
EMBEDDED = Broker(name="the embedded broker", connection_errors=(AttributeError,))


def broker_of(site: Settings) -> Broker:
    """The broker that these settings name."""
    return EMBEDDED if site.broker_url.startswith("redis") else RABBITMQ


def broker() -> Broker:
    """The broker of this process's settings."""
    return broker_of(settings())
