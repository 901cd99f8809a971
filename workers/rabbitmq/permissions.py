"""Permissions of each role on RabbitMQ. Pure values, applied by `colm.workers.rabbitmq.users`.

RabbitMQ knows three rights on exchanges and queues, each a pattern over their names: to configure
(declare, delete), to write (publish, bind a queue) and to read (consume, purge, bind from an
exchange). On a topic exchange a second pattern holds publishes to routing keys. A client's own key
is therefore its identity: nobody else can publish under it.

    role          configure  writes to                    under the key       reads
    client        nothing    colm.drafts                  draft.<client>      its own queues
    server        nothing    colm.drafts                  guidance.<server>   its own queues
    caller        nothing    colm.ask                     ask, control        nothing
    coordinator   all        all                          any                 all

A client or server that shows in Flower may also write to `celeryev`. Patterns end in \\z and not in
$, which would let a line feed follow.
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
    """What one user may do in CoLM's virtual host; every field is a pattern of RabbitMQ's."""

    configure: str
    write: str
    read: str
    #: Exchange -> the routing keys that may be published to it; an exchange not named is free.
    keys: dict[str, str]


def of_participant(role: Role, name: str, *, events: bool) -> Permissions:
    """The rights of one client or server, which is shown in Flower if `events`."""
    exchanges = [DRAFTS, EVENTS] if events else [DRAFTS]
    return Permissions(
        configure=NOTHING,
        write=exactly(*exchanges),
        read=exactly(*queue_names(role, name)),
        keys={DRAFTS: exactly(submission_key(role, name))},
    )


def of_caller() -> Permissions:
    """The rights of a program that asks and cancels; the answers come from the database."""
    return Permissions(
        configure=NOTHING,
        write=exactly(ASK),
        read=NOTHING,
        keys={ASK: exactly("ask", "control")},
    )


def of_coordinator() -> Permissions:
    """Coordinators own the virtual host: they declare it, and read what others write."""
    return Permissions(configure=EVERYTHING, write=EVERYTHING, read=EVERYTHING, keys={})


def queue_names(role: Role, name: str) -> list[str]:
    """The queues that a participant reads, whatever the site's limits are."""
    site = Topology(limits=BrokerLimits(), clients=(), servers=())
    queues = site.of_client(name) if role == "client" else site.of_server(name)
    return [queue.name for queue in (*queues, site.step_cancellations(name))]


def exactly(*names: str) -> str:
    """A pattern that these names match and nothing else."""
    return rf"^({'|'.join(map(re.escape, names))})\z"
