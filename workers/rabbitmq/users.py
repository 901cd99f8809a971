"""A participant's own user on RabbitMQ: made with its rights and queues, renewed, taken away.

A user made here carries a tag that says for whom; only such users are ever changed or deleted. The
tag gives no rights: RabbitMQ ignores those that it does not know.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

from amqp.exceptions import PreconditionFailed
from celery.events.event import event_exchange

from colm.models.errors import ColmError, TransientError
from colm.models.messages import Role
from colm.tasks.broker.connection import declare_hint
from colm.tasks.broker.queue_stats import queue_stats
from colm.tasks.broker.topology import declare, topology_of
from colm.tasks.celery_app import app
from colm.tasks.config.settings import settings
from colm.workers.rabbitmq.management_api import Management
from colm.workers.rabbitmq.permissions import of_participant, queue_names

#: Bytes of randomness in a password.
PASSWORD_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class Account:
    """A user on the broker that was made for a participant."""

    user: str
    role: Role
    name: str

    @property
    def tag(self) -> str:
        return f"colm.{self.role}.{self.name}"


def account(role: Role, name: str, user: str | None) -> Account:
    """The account of a participant; the user is called colm-NAME unless told otherwise."""
    return Account(user=user or f"colm-{name}", role=role, name=name)


def add(broker: Management, wanted: Account, *, events: bool) -> str:
    """Make the user, its rights and the participant's queues; the password, kept nowhere else.

    Raises ColmError where the user exists already: another's password is never changed.
    """
    user = broker.get("users", wanted.user)
    if user is not None:
        _check_ours(broker, wanted, user)
        raise ColmError(
            f"the broker has a user {wanted.user!r} already: 'colm {wanted.role} rotate "
            f"{wanted.name}' gives it a new password, --user makes another"
        )
    _declare_for(wanted)
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    broker.put_user(wanted.user, password, wanted.tag)
    broker.allow(wanted.user, of_participant(wanted.role, wanted.name, events=events))
    return password


def rotate(broker: Management, wanted: Account, *, close: bool) -> str:
    """Give the user a new password; what was connected with the old one stays unless `close`.

    Raises ColmError where another site would lose its password.
    """
    user = _known(broker, wanted)
    _check_ours(broker, wanted, user)
    if others := _elsewhere(broker, wanted):
        raise ColmError(
            f"the user {wanted.user!r} has rights in {_named(others)} too, where its password "
            f"would change as well: 'colm {wanted.role} add {wanted.name} --user OTHER' makes one "
            "for this site alone"
        )
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    broker.put_user(wanted.user, password, wanted.tag)
    if close:
        broker.close_connections(wanted.user)
    return password


def remove(broker: Management, wanted: Account, *, queues: bool, force: bool) -> list[str]:
    """Take the user away and end its connections; what became of all of it, as lines to print.

    With `queues` its queues are deleted too, unless messages wait in them and `force` is not given.
    A user with rights elsewhere loses those in this virtual host, and stays.
    """
    user = _known(broker, wanted)
    _check_ours(broker, wanted, user, left_over=True)
    if queues and not force:
        _check_empty(wanted)
    others = _elsewhere(broker, wanted)
    broker.forbid(wanted.user)
    broker.close_connections(wanted.user)
    if others:
        told = f"took the rights of {wanted.user} in this virtual host; the user stays, for "
        told += f"{_named(others)}"
    else:
        broker.delete_user(wanted.user)
        told = f"removed the user {wanted.user}"
    names = queue_names(wanted.role, wanted.name)
    if not queues:
        return [told, f"kept its queues: {', '.join(names)} (--queues deletes them)"]
    if not force:
        _check_empty(wanted)  # what it held unacked has come back by now
    for name in names:
        broker.delete_queue(name)
    return [told, f"deleted its queues: {', '.join(names)}"]


def accounts(broker: Management) -> Iterator[Account]:
    """Every user that was made here and may connect to this virtual host."""
    allowed = {p["user"] for p in broker.get("vhosts", broker.vhost, "permissions") or []}
    for user in broker.get("users") or []:
        if user["name"] in allowed and (found := _from_tags(user)):
            yield found


def of_others(broker: Management) -> int:
    """How many users were made for participants of other sites on this RabbitMQ."""
    ours = {account.user for account in accounts(broker)}
    made = [user for user in broker.get("users") or [] if _from_tags(user)]
    return len({str(user["name"]) for user in made} - ours)


def _from_tags(user: dict[str, object]) -> Account | None:
    for tag in _tags(user):
        made, _, rest = tag.partition(".")
        role, _, name = rest.partition(".")
        if made == "colm" and name:
            for known in get_args(Role):
                if role == known:
                    return Account(user=str(user["name"]), role=known, name=name)
    return None


def _tags(user: dict[str, object]) -> list[str]:
    """A user's tags: a list from RabbitMQ 3.9 on, before that a text."""
    tags = user.get("tags") or []
    return [str(tag) for tag in tags] if isinstance(tags, list) else str(tags).split(",")


def _known(broker: Management, wanted: Account) -> dict[str, object]:
    """The user as the broker knows it. Raises ColmError where there is none."""
    user = broker.get("users", wanted.user)
    if user is None:
        raise ColmError(
            f"the broker has no user {wanted.user!r}: 'colm {wanted.role} list' shows those there "
            f"are, 'colm {wanted.role} add {wanted.name}' makes it"
        )
    return dict(user)


def _check_ours(
    broker: Management, wanted: Account, user: dict[str, object], *, left_over: bool = False
) -> None:
    """Raises ColmError for a user that was not made here, or that is another site's.

    Users belong to the whole RabbitMQ: a site's own are those with rights in its virtual host. With
    `left_over` one without any right will do, which `add` left when it was broken off.
    """
    if wanted.tag not in _tags(user):
        raise ColmError(
            f"the user {wanted.user!r} was not made by 'colm {wanted.role} add {wanted.name}' "
            "(it lacks that tag) and is left alone; --user names another"
        )
    if broker.permissions(wanted.user) is not None:
        return
    others = _elsewhere(broker, wanted)
    if others:
        raise ColmError(
            f"the user {wanted.user!r} has no right in this virtual host ({broker.vhost}): it is "
            f"another site's, which uses {_named(others)}, and is left alone; --user names another"
        )
    if not left_over:
        raise ColmError(
            f"the user {wanted.user!r} has rights in no virtual host, as an 'add' that was broken "
            f"off leaves it: 'colm {wanted.role} remove {wanted.name}' deletes it, then add it"
        )


def _elsewhere(broker: Management, wanted: Account) -> list[str]:
    """The other virtual hosts in which the user has rights."""
    found = broker.get("users", wanted.user, "permissions") or []
    return sorted({str(p["vhost"]) for p in found} - {broker.vhost})


def _named(vhosts: list[str]) -> str:
    return f"virtual host {', '.join(map(repr, vhosts))}"


def _check_empty(wanted: Account) -> None:
    # A stream keeps what was read, too: what is in it waits for nobody.
    stops = topology_of(settings()).step_cancellations(wanted.name).name
    names = [name for name in queue_names(wanted.role, wanted.name) if name != stops]
    waiting = [d for d in queue_stats(names) if d.messages]
    if waiting:
        told = ", ".join(f"{d.name} ({d.messages})" for d in waiting)
        raise ColmError(
            f"messages wait in {told}: let {wanted.name} do them, or --force drops them; their "
            "steps expire at their deadlines"
        )


def _declare_for(wanted: Account) -> None:
    site = topology_of(settings())
    own = site.of_client if wanted.role == "client" else site.of_server
    with app.connection_for_write() as connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=1)
            channel = connection.default_channel
            declare(channel, [site.dead(), site.step_cancellations(wanted.name), *own(wanted.name)])
            event_exchange(channel).declare()  # it may publish there, and not declare it
        except PreconditionFailed as error:
            raise ColmError(
                f"a queue of {wanted.name!r} cannot be made: {declare_hint(error)}. RabbitMQ said: "
                f"{error.reply_text}. Use the coordinators' colm.toml"
            ) from error
        except connection.connection_errors as error:
            raise TransientError(f"the broker cannot be reached: {error}") from error
