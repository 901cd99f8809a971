"""A participant's user on RabbitMQ: creation with permissions and queues, rotation, removal.

A user created here has a tag that names its participant, and only such users are changed or
deleted. RabbitMQ ignores tags that it does not know.
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
    """A broker user of a participant."""

    user: str
    role: Role
    name: str

    @property
    def tag(self) -> str:
        return f"colm.{self.role}.{self.name}"


def account(role: Role, name: str, user: str | None) -> Account:
    """The account of a participant; the user is colm-NAME by default."""
    return Account(user=user or f"colm-{name}", role=role, name=name)


def add(broker: Management, account: Account, *, events: bool) -> str:
    """Create the user, its permissions and the participant's queues; the password, not stored.

    Raises ColmError if the user exists.
    """
    user = broker.get("users", account.user)
    if user is not None:
        _check_ours(broker, account, user)
        raise ColmError(
            f"the broker has a user {account.user!r} already: 'colm {account.role} rotate "
            f"{account.name}' gives it a new password, --user makes another"
        )
    _declare_for(account)
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    broker.put_user(account.user, password, account.tag)
    broker.allow(account.user, of_participant(account.role, account.name, events=events))
    return password


def rotate(broker: Management, account: Account, *, close: bool) -> str:
    """Set a new password; with `close`, also close the user's connections.

    Raises ColmError if another site uses the same user.
    """
    user = _user_of(broker, account)
    _check_ours(broker, account, user)
    if others := _elsewhere(broker, account):
        raise ColmError(
            f"the user {account.user!r} has rights in {_named(others)} too, where its password "
            f"would change as well: 'colm {account.role} add {account.name} --user OTHER' makes one"
            " for this site alone"
        )
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    broker.put_user(account.user, password, account.tag)
    if close:
        broker.close_connections(account.user)
    return password


def remove(broker: Management, account: Account, *, queues: bool, force: bool) -> list[str]:
    """Delete the user and close its connections; a report in lines.

    With `queues` its queues are deleted, too; if they hold messages, only with `force`. A user with
    permissions in other virtual hosts stays, and loses those in this one.
    """
    user = _user_of(broker, account)
    _check_ours(broker, account, user, without_permissions=True)
    if queues and not force:
        _check_empty(account)
    others = _elsewhere(broker, account)
    broker.forbid(account.user)
    broker.close_connections(account.user)
    if others:
        report = f"took the rights of {account.user} in this virtual host; the user stays, for "
        report += f"{_named(others)}"
    else:
        broker.delete_user(account.user)
        report = f"removed the user {account.user}"
    names = queue_names(account.role, account.name)
    if not queues:
        return [report, f"kept its queues: {', '.join(names)} (--queues deletes them)"]
    if not force:
        _check_empty(account)  # unacked messages are back in the queues by now
    for name in names:
        broker.delete_queue(name)
    return [report, f"deleted its queues: {', '.join(names)}"]


def accounts(broker: Management) -> Iterator[Account]:
    """Every user with our tag that may connect to this virtual host."""
    allowed = {p["user"] for p in broker.get("vhosts", broker.vhost, "permissions") or []}
    for user in broker.get("users") or []:
        if user["name"] in allowed and (account := _from_tags(user)):
            yield account


def of_others(broker: Management) -> int:
    """The number of users with our tag that belong to other sites on this RabbitMQ."""
    ours = {account.user for account in accounts(broker)}
    made = [user for user in broker.get("users") or [] if _from_tags(user)]
    return len({str(user["name"]) for user in made} - ours)


def _from_tags(user: dict[str, object]) -> Account | None:
    for tag in _tags(user):
        made, _, rest = tag.partition(".")
        role, _, name = rest.partition(".")
        if made == "colm" and name:
            for valid_role in get_args(Role):
                if role == valid_role:
                    return Account(user=str(user["name"]), role=valid_role, name=name)
    return None


def _tags(user: dict[str, object]) -> list[str]:
    """A user's tags: a list since RabbitMQ 3.9, a string before."""
    tags = user.get("tags") or []
    return [str(tag) for tag in tags] if isinstance(tags, list) else str(tags).split(",")


def _user_of(broker: Management, account: Account) -> dict[str, object]:
    """The broker's record of the user. Raises ColmError if there is none."""
    user = broker.get("users", account.user)
    if user is None:
        raise ColmError(
            f"the broker has no user {account.user!r}: 'colm {account.role} list' shows those there"
            f" are, 'colm {account.role} add {account.name}' makes it"
        )
    return dict(user)


def _check_ours(
    broker: Management,
    account: Account,
    user: dict[str, object],
    *,
    without_permissions: bool = False,
) -> None:
    """Raise ColmError for a user without our tag, or of another site.

    Users are global in RabbitMQ; a site's users have permissions in its virtual host. With
    `without_permissions` a user without any passes, which an interrupted `add` leaves.
    """
    if account.tag not in _tags(user):
        raise ColmError(
            f"the user {account.user!r} was not made by 'colm {account.role} add {account.name}' "
            "(it lacks that tag) and is left alone; --user names another"
        )
    if broker.permissions(account.user) is not None:
        return
    others = _elsewhere(broker, account)
    if others:
        raise ColmError(
            f"the user {account.user!r} has no right in this virtual host ({broker.vhost}): it is "
            f"another site's, which uses {_named(others)}, and is left alone; --user names another"
        )
    if not without_permissions:
        raise ColmError(
            f"the user {account.user!r} has rights in no virtual host, as an 'add' that was broken "
            f"off leaves it: 'colm {account.role} remove {account.name}' deletes it, then add it"
        )


def _elsewhere(broker: Management, account: Account) -> list[str]:
    """The other virtual hosts in which the user has permissions."""
    permissions = broker.get("users", account.user, "permissions") or []
    return sorted({str(p["vhost"]) for p in permissions} - {broker.vhost})


def _named(vhosts: list[str]) -> str:
    return f"virtual host {', '.join(map(repr, vhosts))}"


def _check_empty(account: Account) -> None:
    # A stream keeps consumed messages, too, so its length says nothing.
    stops = topology_of(settings()).step_cancellations(account.name).name
    names = [name for name in queue_names(account.role, account.name) if name != stops]
    waiting = [d for d in queue_stats(names) if d.messages]
    if waiting:
        lengths = ", ".join(f"{d.name} ({d.messages})" for d in waiting)
        raise ColmError(
            f"messages wait in {lengths}: let {account.name} do them, or --force drops them; their "
            "steps expire at their deadlines"
        )


def _declare_for(account: Account) -> None:
    site = topology_of(settings())
    own = site.of_client if account.role == "client" else site.of_server
    with app.connection_for_write() as connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=1)
            channel = connection.default_channel
            declare(
                channel, [site.dead(), site.step_cancellations(account.name), *own(account.name)]
            )
            event_exchange(channel).declare()  # the user may publish to it, but not declare it
        except PreconditionFailed as error:
            raise ColmError(
                f"a queue of {account.name!r} cannot be made: {declare_hint(error)}. RabbitMQ said:"
                f" {error.reply_text}. Use the coordinators' colm.toml"
            ) from error
        except connection.connection_errors as error:
            raise TransientError(f"the broker cannot be reached: {error}") from error
