"""Permissions of each role on RabbitMQ, as pure values.

RabbitMQ has three permissions, each a pattern over the names of exchanges and queues: configure
(declare, delete), write (publish, bind a queue) and read (consume, purge, bind from an exchange). A
topic permission also restricts publishing by routing key. A client's routing key is therefore its
identity: no other user can publish under it.

    role          configure  writes to                    under the key       reads
    client        nothing    colm.drafts                  draft.<client>      its own queues
    server        nothing    colm.drafts                  guidance.<server>   its own queues
    caller        nothing    colm.ask                     ask, control        nothing
    coordinator   all        all                          any                 all

A client or server that shows in Flower may also write to `celeryev`. Patterns end in \\z, as $ also
matches before a line feed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from colm.models.messages import Role
from colm.tasks.broker.topology import ASK, DRAFTS, Topology, submission_key
from colm.tasks.config.settings import BrokerLimits

#: The exchange of Celery's events, which Flower reads.
EVENTS = "celeryev"
NOTHING = "^$"
EVERYTHING = ".*"


@dataclass(frozen=True, kw_only=True)
class Permissions:
    """Permissions of one user in CoLM's virtual host, as RabbitMQ's patterns."""

    configure: str
    write: str
    read: str
    #: Exchange -> pattern of the routing keys; exchanges that are not listed are unrestricted.
    keys: dict[str, str]


def of_participant(role: Role, name: str, *, events: bool) -> Permissions:
    """Permissions of one client or server; with `events` it shows in Flower."""
    exchanges = [DRAFTS, EVENTS] if events else [DRAFTS]
    return Permissions(
        configure=NOTHING,
        write=exactly(*exchanges),
        read=exactly(*queue_names(role, name)),
        keys={DRAFTS: exactly(submission_key(role, name))},
    )


def of_caller() -> Permissions:
    """Permissions of a program that asks and cancels; it reads answers from the database."""
    return Permissions(
        configure=NOTHING, write=exactly(ASK), read=NOTHING, keys={ASK: exactly("ask", "control")}
    )


def of_coordinator() -> Permissions:
    """Permissions of a coordinator, which declares everything in the virtual host."""
    return Permissions(configure=EVERYTHING, write=EVERYTHING, read=EVERYTHING, keys={})


def queue_names(role: Role, name: str) -> list[str]:
    """The queues that a participant consumes."""
    site = Topology(limits=BrokerLimits(), clients=(), servers=())
    queues = site.of_client(name) if role == "client" else site.of_server(name)
    return [queue.name for queue in (*queues, site.step_cancellations(name))]


def exactly(*names: str) -> str:
    """A pattern that matches these names only."""
    return rf"^({'|'.join(map(re.escape, names))})\z"
