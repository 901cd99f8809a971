"""The broker's queues and bindings against those of the settings."""

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

#: Kinds of queues of one participant, as in colm.draft.ada.
OF_PARTICIPANTS = ("draft", "refine", "synthesize", "overnight", "cancel")
DRAIN = (
    "let it run empty, delete it (management page, or rabbitmqctl delete_queue) and start a "
    "coordinator; or set [limits] to the values of its declaration"
)


def declared_queues(config: Settings) -> tuple[Queue, ...]:
    """Every queue that a coordinator with these settings declares on RabbitMQ."""
    site = topology_of(config)
    return (*site.everything(), site.control(), site.parked(), *site.all_step_cancellations())


def readers(config: Settings) -> Findings:
    """For each queue that needs a consumer: its messages and its consumers."""
    site = topology_of(config)
    names = [q.name for q in site.everything() if q.name != site.dead().name]
    for name, waiting, consumers in queue_stats(names):
        if consumers:
            yield ok(name, f"{waiting} messages, {consumers} consumers")
        else:
            role = name.removeprefix("colm.").split(".")
            start = "colm coordinator" if len(role) == 1 else _command(config, role[-1])
            yield warning(name, f"{waiting} messages, no consumer", start)


def _command(config: Settings, name: str) -> str:
    return f"colm {'server' if name in config.servers else 'client'} {name}"


def drift(connection: pika.BlockingConnection, queues: Sequence[Queue]) -> Findings:
    """Queues that are missing or were declared with other arguments.

    Declaring an existing queue again compares its arguments. That needs the permission to declare.
    """
    wrong = 0
    for queue in queues:
        code = refusal(
            connection, partial(BlockingChannel.queue_declare, queue=queue.name, passive=True)
        )
        if code == NOT_FOUND:
            wrong += 1
            yield problem(
                f"queue {queue.name}", "is missing", "start colm coordinator, which declares it"
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
            yield ok("queues", "this user may not compare their arguments; a coordinator's may")
            return
        if code == PRECONDITION_FAILED:
            wrong += 1
            yield problem(f"queue {queue.name}", "was declared with other arguments", DRAIN)
    if not wrong:
        yield ok("queues", f"all {len(queues)} exist with these arguments")


def unexpected(api: Management, queues: Sequence[Queue]) -> Findings:
    """Missing or extra bindings, and CoLM queues that these settings do not declare."""
    existing: Sequence[Mapping[str, Any]] = api.get("queues", api.vhost) or []
    bindings: Sequence[Mapping[str, Any]] = api.get("bindings", api.vhost) or []
    declared = {queue.name: queue for queue in queues}
    there = {str(queue["name"]): queue for queue in existing}
    yield from _unknown({n: q for n, q in there.items() if n not in declared})
    yield from _bindings({n: q for n, q in declared.items() if n in there}, bindings)


def _unknown(there: Mapping[str, Mapping[str, Any]]) -> Findings:
    for name, queue in sorted(there.items()):
        kind, _, owner = name.removeprefix("colm.").partition(".")
        if not name.startswith("colm."):
            continue
        waiting = int(queue.get("messages", 0) or 0)
        detail = f"{waiting} messages, and no {owner or kind!r} in this colm.toml"
        if owner and kind in OF_PARTICIPANTS:
            do = f"colm client remove {owner} --queues, or put {owner!r} back into colm.toml"
            yield warning(f"queue {name}", f"left over: {detail}", do)
        else:
            yield warning(f"queue {name}", f"unknown: {detail}", "delete it if it is unused")


def _bindings(queues: Mapping[str, Queue], bindings: Sequence[Mapping[str, Any]]) -> Findings:
    expected = {
        (queue.exchange.name, name, queue.routing_key)
        for name, queue in queues.items()
        if queue.exchange.name
    }
    made = {
        (str(b["source"]), str(b["destination"]), str(b["routing_key"]))
        for b in bindings
        if b["source"] and b["destination_type"] == "queue"
    }
    for exchange, name, key in sorted(expected - made):
        yield problem(
            f"queue {name}", f"is not bound to {exchange} as {key!r}: it receives nothing",
            "start colm coordinator, which binds it",
        )  # fmt: skip
    for exchange, name, key in sorted(made - expected):
        if name.startswith("colm.") or exchange.startswith("colm."):
            yield warning(
                f"queue {name}", f"is bound to {exchange} as {key!r}, which CoLM does not declare",
                "unbind it: it copies messages for others",
            )  # fmt: skip
    if expected <= made:
        yield ok("bindings", f"all {len(expected)} exist")


def orphans(api: Management, config: Settings) -> Findings:
    """Users of participants that are no longer configured."""
    from colm.workers.rabbitmq.users import accounts

    for account in accounts(api):
        table = config.clients if account.role == "client" else config.servers
        if account.name not in table:
            yield warning(
                f"user {account.user}",
                f"is for the {account.role} {account.name}, which is not in this colm.toml",
                f"colm {account.role} remove {account.name} --user {account.user}",
            )


def socket(config: Settings) -> Finding:
    """The embedded broker's socket: access to it is access to everything."""
    path = broker_socket(config.home)
    if config.broker is not None and quote(str(path)) not in config.broker_url:
        return ok("embedded broker", "on another socket")
    try:
        mode = path.stat().st_mode & 0o777
    except OSError as error:
        raise ColmError(f"{path}: {error.strerror}; start 'colm up'") from error
    if mode & 0o077:
        return problem("embedded broker", f"other users may open {path}", f"chmod 700 {path}")
    return ok("embedded broker", f"{path}, accessible to this user only")
