"""The queues as they are against the queues as our settings want them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

import pika
from kombu import Queue
from pika.adapters.blocking_connection import BlockingChannel

from colm.models.errors import ColmError
from colm.tasks.broker.publish import NOT_FOUND
from colm.tasks.broker.queue_stats import queue_stats
from colm.tasks.broker.topology import topology_of
from colm.tasks.config.paths import broker_socket
from colm.tasks.config.settings import Settings
from colm.workers.doctor.findings import Finding, Findings, ok, problem, warning
from colm.workers.rabbitmq.management_api import Management
from colm.workers.rabbitmq.permission_probe import ACCESS_REFUSED, PRECONDITION_FAILED, refusal

#: Kinds of queues that belong to one participant each, as in colm.draft.ada.
OF_PARTICIPANTS = ("draft", "refine", "synthesize", "overnight", "cancel")
DRAIN = (
    "let it run empty, delete it (management page, or rabbitmqctl delete_queue) and start a "
    "coordinator; or give [limits] the values that it was made with"
)


def wanted(found: Settings) -> tuple[Queue, ...]:
    """Every queue that a coordinator with these settings declares on RabbitMQ."""
    site = topology_of(found)
    return (*site.everything(), site.control(), site.parked(), *site.all_step_cancellations())


def readers(found: Settings) -> Findings:
    """Each queue that somebody has to read: how many messages wait, and who reads it."""
    site = topology_of(found)
    names = [q.name for q in site.everything() if q.name != site.dead().name]
    for name, waiting, consumers in queue_stats(names):
        if consumers:
            yield ok(name, f"{waiting} messages, {consumers} readers")
        else:
            role = name.removeprefix("colm.").split(".")
            start = "colm coordinator" if len(role) == 1 else _command(found, role[-1])
            yield warning(name, f"{waiting} messages, no reader", start)


def _command(found: Settings, name: str) -> str:
    return f"colm {'server' if name in found.servers else 'client'} {name}"


def drift(connection: pika.BlockingConnection, queues: Sequence[Queue]) -> Findings:
    """Each queue that is missing, or was declared with other arguments than ours.

    Declaring a queue again as it is changes nothing, and tells. Who may not declare cannot tell.
    """
    wrong = 0
    for queue in queues:
        code = refusal(
            connection, partial(BlockingChannel.queue_declare, queue=queue.name, passive=True)
        )
        if code == NOT_FOUND:
            wrong += 1
            yield problem(
                f"queue {queue.name}", "is missing", "colm coordinator declares it at its start"
            )
            continue
        code = refusal(
            connection,
            partial(
                BlockingChannel.queue_declare,
                queue=queue.name,
                durable=True,
                arguments=queue.queue_arguments,
            ),
        )
        if code == ACCESS_REFUSED:
            yield ok("queues", "this user may not look at their arguments; a coordinator's may")
            return
        if code == PRECONDITION_FAILED:
            wrong += 1
            yield problem(
                f"queue {queue.name}", "was declared with other arguments than ours", DRAIN
            )
    if not wrong:
        yield ok("queues", f"all {len(queues)} are there, with our arguments")


def strangers(api: Management, queues: Sequence[Queue]) -> Findings:
    """Bindings that are missing or too many, and queues of ours that nobody here knows."""
    found: Sequence[Mapping[str, Any]] = api.get("queues", api.vhost) or []
    bindings: Sequence[Mapping[str, Any]] = api.get("bindings", api.vhost) or []
    known = {queue.name: queue for queue in queues}
    there = {str(queue["name"]): queue for queue in found}
    yield from _unknown({n: q for n, q in there.items() if n not in known})
    yield from _bindings({n: q for n, q in known.items() if n in there}, bindings)


def _unknown(there: Mapping[str, Mapping[str, Any]]) -> Findings:
    for name, queue in sorted(there.items()):
        kind, _, owner = name.removeprefix("colm.").partition(".")
        if not name.startswith("colm."):
            continue
        lying = int(queue.get("messages", 0) or 0)
        told = f"{lying} messages, and no {owner or kind!r} in this colm.toml"
        if owner and kind in OF_PARTICIPANTS:
            do = f"colm client remove {owner} --queues, or put {owner!r} back into colm.toml"
            yield warning(f"queue {name}", f"left over: {told}", do)
        else:
            yield warning(f"queue {name}", f"unknown: {told}", "delete it if nobody misses it")


def _bindings(queues: Mapping[str, Queue], bindings: Sequence[Mapping[str, Any]]) -> Findings:
    wanted = {
        (queue.exchange.name, name, queue.routing_key)
        for name, queue in queues.items()
        if queue.exchange.name
    }
    made = {
        (str(b["source"]), str(b["destination"]), str(b["routing_key"]))
        for b in bindings
        if b["source"] and b["destination_type"] == "queue"
    }
    for exchange, name, key in sorted(wanted - made):
        yield problem(
            f"queue {name}", f"is not bound to {exchange} as {key!r}: nothing reaches it",
            "colm coordinator binds it at its start",
        )  # fmt: skip
    for exchange, name, key in sorted(made - wanted):
        if name.startswith("colm.") or exchange.startswith("colm."):
            yield warning(
                f"queue {name}", f"is bound to {exchange} as {key!r}, which is not ours",
                "unbind it: it copies what others are sent",
            )  # fmt: skip
    if wanted <= made:
        yield ok("bindings", f"all {len(wanted)} are there")


def orphans(api: Management, found: Settings) -> Findings:
    """Users that were made for participants that are no longer configured."""
    from colm.workers.rabbitmq.users import accounts

    for account in accounts(api):
        table = found.clients if account.role == "client" else found.servers
        if account.name not in table:
            yield warning(
                f"user {account.user}",
                f"is for the {account.role} {account.name}, which is not in this colm.toml",
                f"colm {account.role} remove {account.name} --user {account.user}",
            )


def socket(found: Settings) -> Finding:
    """The embedded broker's socket: whoever can open it can do everything."""
    path = broker_socket(found.home)
    if found.broker is not None and quote(str(path)) not in found.broker_url:
        return ok("embedded broker", "on a socket elsewhere")
    try:
        mode = path.stat().st_mode & 0o777
    except OSError as error:
        raise ColmError(f"{path}: {error.strerror}; start 'colm up'") from error
    if mode & 0o077:
        return problem("embedded broker", f"others may open {path}", f"chmod 700 {path}")
    return ok("embedded broker", f"{path}, for this user alone")
