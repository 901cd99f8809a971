"""RabbitMQ itself: its version, its alarms, its patience, its clock, and what our user may do."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import pika

from colm.models.messages import Deadlines, Role
from colm.models.redelivery import HANG_GRACE
from colm.tasks.broker.retry import GIVE_UP_AFTER
from colm.tasks.broker.topology import ASK, DRAFTS, GUIDANCE, STEPS, SUBMISSIONS, submission_key
from colm.tasks.config.settings import Settings
from colm.workers.consumer.message_validation import MAX_BODY_BYTES
from colm.workers.doctor.findings import Finding, Findings, ok, problem, warning
from colm.workers.doctor.machine import clock
from colm.workers.rabbitmq.management_api import Management
from colm.workers.rabbitmq.permission_probe import (
    largest_message,
    may_declare,
    may_publish,
    may_read,
)
from colm.workers.rabbitmq.permissions import queue_names

#: Versions that are supported: from the first, to before the second.
OLDEST, TOO_NEW = (3, 10), (5, 0)
#: RabbitMQ's consumer_timeout unless it is set (seconds).
DEFAULT_CONSUMER_TIMEOUT = 1_800.0
CONSUMER_TIMEOUT = "application:get_env(rabbit, consumer_timeout)."
CTL_WITHIN = 30.0
#: Below this a broker refuses questions and panels that are usual (bytes).
USUAL_MESSAGE = 2**20
#: Connections and channels of one process (docs/how-to/secure-a-site.md), and an allowance for
#: callers and operators.
COORDINATOR_CONNECTIONS = 9
PARTICIPANT_CONNECTIONS = 4
PARTICIPANT_CHANNELS = 6
OTHER_CONNECTIONS = 2
#: Queues for remote control and Flower, beside those that a coordinator declares.
OTHER_QUEUES = 2


def version(connection: pika.BlockingConnection) -> Finding:
    """Whether this RabbitMQ is one that CoLM is made for."""
    # pika tells what the server said of itself nowhere else.
    told = str(connection._impl.server_properties.get("version", "unknown"))
    numbers = tuple(int(part) for part in re.findall(r"\d+", told)[:2])
    if not OLDEST <= numbers < TOO_NEW:
        return problem("broker", f"RabbitMQ {told}", "use RabbitMQ 3.10 to 4.x")
    return ok("broker", f"RabbitMQ {told}")


def alarms(api: Management) -> Finding:
    """A node with too little memory or disk takes no messages until that has passed."""
    reply = api.check("health", "checks", "alarms")
    if reply.status_code == 200:
        return ok("alarms", "none: there is memory and disk")
    resources = re.findall(r'"resource":\s*"(\w+)"', reply.text) or ["a resource"]
    do = "free memory or disk on the broker's machine: until then it takes no messages"
    return problem("alarms", f"the broker raised one for {', '.join(sorted(set(resources)))}", do)


def broker_clock(api: Management, deadlines: Deadlines) -> Finding:
    """This machine's clock against the broker's, to a second: HTTP dates have no fractions."""
    before = time.time()
    date = api.check("overview").headers.get("date")
    after = time.time()
    if date is None:
        return warning("clock against the broker's", "the broker told no time", "run NTP on both")
    theirs = parsedate_to_datetime(date).timestamp() + 0.5
    return clock("broker", (before + after) / 2 - theirs, 0.5 + (after - before) / 2, deadlines)


def message_size(connection: pika.BlockingConnection) -> Finding:
    """The broker's max_message_size against what CoLM may send."""
    return judge_message_size(largest_message(connection, MAX_BODY_BYTES))


def judge_message_size(most: int | None) -> Finding:
    """What it means that the broker takes `most` bytes; None is enough for every message."""
    about = "max_message_size"
    if most is None:
        return ok(about, f"enough for the {MAX_BODY_BYTES} bytes that a message may have")
    told = f"{most} bytes, and a message may have {MAX_BODY_BYTES}: larger ones fail"
    do = f"max_message_size = {MAX_BODY_BYTES} or more in rabbitmq.conf"
    return (problem if most < USUAL_MESSAGE else warning)(about, told, do)


def limits(api: Management, found: Settings, queues: int, users: Sequence[str]) -> Findings:
    """The limits of the virtual host, and of `users` that were made for participants.

    `queues` is how many a coordinator declares.
    """
    of_vhost = _limits(api.get("vhost-limits", api.vhost))
    processes = len(found.clients) + len(found.servers)
    needed = COORDINATOR_CONNECTIONS + processes * PARTICIPANT_CONNECTIONS + OTHER_CONNECTIONS
    yield from judge_limit("the virtual host", "max-connections", of_vhost, needed)
    yield from judge_limit("the virtual host", "max-queues", of_vhost, queues + OTHER_QUEUES)
    for user in users:
        of_user = _limits(api.get("user-limits", user))
        name = f"user {user}"
        yield from judge_limit(name, "max-connections", of_user, PARTICIPANT_CONNECTIONS)
        yield from judge_limit(name, "max-channels", of_user, PARTICIPANT_CHANNELS)


def judge_limit(whose: str, limit: str, limits: Mapping[str, int], needed: int) -> Findings:
    """Nothing for a limit that leaves room for what is needed, or is none."""
    most = limits.get(limit, -1)
    if 0 <= most < needed:
        told = f"{limit} of {whose} is {most}, and this site needs up to {needed}"
        setting = (
            "set_user_limits USER" if whose.startswith("user") else "set_vhost_limits -p VHOST"
        )
        yield problem("limits", told, f"rabbitmqctl {setting} '{{\"{limit}\":{needed}}}'")


def _limits(found: Any) -> Mapping[str, int]:
    """The limits in what the API answers: a list with one entry, or with none."""
    match found:
        case [{"value": dict() as value}, *_]:
            return {str(name): int(most) for name, most in value.items()}
        case _:
            return {}


def max_ack_delay(deadlines: Deadlines) -> float:
    """How long a worker can hold a message unacked (seconds)."""
    stages: list[float] = [
        limit for stage, limit in deadlines.model_dump().items() if stage != "query"
    ]
    return max(max(stages) + HANG_GRACE, GIVE_UP_AFTER)


def consumer_timeout(found: Settings, api: Management | None) -> Finding:
    """RabbitMQ's consumer_timeout against our longest deadline."""
    return judge_patience(_consumer_timeout(found, api), max_ack_delay(found.deadlines))


def judge_patience(timeout: float | None, longest: float) -> Finding:
    """What a consumer_timeout of `timeout` seconds means; None could not be looked at."""
    about, told = "consumer_timeout", f"a worker holds a message for up to {longest:.0f} s"
    do = (
        f"set consumer_timeout in rabbitmq.conf above {1000 * longest:.0f} ms, or lower [deadlines]"
    )
    if timeout is None:
        if longest >= DEFAULT_CONSUMER_TIMEOUT:
            return warning(about, f"could not be looked at, is 1800 s by default, and {told}", do)
        look = f"rabbitmqctl eval '{CONSUMER_TIMEOUT}'"
        return ok(about, f"could not be looked at from here ({look}); {told}, below its default")
    if timeout <= longest:
        return problem(about, f"{timeout:.0f} s, and {told}: it would be delivered twice", do)
    return ok(about, f"{timeout:.0f} s, and {told}")


def read_consumer_timeout(told: str) -> float | None:
    """The seconds in what `rabbitmqctl eval` prints; infinite where the timeout is off."""
    if found := re.search(r"\{ok,\s*(\d+)\}", told):
        return int(found[1]) / 1000
    return float("inf") if "undefined" in told else None


def _consumer_timeout(found: Settings, api: Management | None) -> float | None:
    """As the broker's node says, where that is this machine and we may ask it."""
    host = urlsplit(found.broker_url).hostname
    control = shutil.which("rabbitmqctl")
    if control is None or api is None or host not in ("localhost", "127.0.0.1", "::1"):
        return None  # without the node's name another node could be asked
    node = str((api.get("overview") or {}).get("node", ""))
    try:
        done = subprocess.run(
            [control, "--quiet", "--node", node, "eval", CONSUMER_TIMEOUT],
            capture_output=True, text=True, timeout=CTL_WITHIN, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return read_consumer_timeout(done.stdout) if done.returncode == 0 else None


def rights_of_coordinator(connection: pika.BlockingConnection) -> Finding:
    """Whether our user may do what a coordinator, or an operator, has to."""
    missing = [] if may_declare(connection, "colm.draft.") else ["declare queues"]
    for exchange in (ASK, STEPS, GUIDANCE):
        if may_publish(connection, exchange, "colm.rights") is False:
            missing.append(f"publish to {exchange}")
    if may_read(connection, SUBMISSIONS) is False:
        missing.append(f"read {SUBMISSIONS}")
    if missing:
        do = "rabbitmqctl set_permissions --vhost VHOST USER '.*' '.*' '.*', or --broker-only"
        return problem("permissions", f"this user may not {', nor '.join(missing)}", do)
    return ok("permissions", "this user may do what a coordinator does")


def rights_of_participant(
    connection: pika.BlockingConnection, role: Role, name: str, others: Sequence[tuple[Role, str]]
) -> Findings:
    """Whether our user may do what `name` has to, and nothing else that can be tried."""
    about = f"permissions as {role} {name}"
    own, key = queue_names(role, name), submission_key(role, name)
    missing = [f"read {queue}" for queue in own if may_read(connection, queue) is False]
    if may_publish(connection, DRAFTS, key) is False:
        missing.append(f"publish to {DRAFTS} as {key}")
    if missing:
        do = f"use its own user: colm {role} add {name}"
        yield problem(about, f"this user may not {', nor '.join(missing)}", do)
        return
    more = _more(connection, [other for other in others if other != (role, name)])
    if more:
        do = f"give it its own user, which may less: colm {role} add {name}"
        yield warning(about, f"this user may also {', '.join(more)}", do)
    else:
        yield ok(about, "this user may do what it has to, and no more")


def readable_by_us(
    connection: pika.BlockingConnection, participants: Sequence[tuple[Role, str]]
) -> list[tuple[Role, str]]:
    """Those of `participants` whose first queue our user may read: whose user it is."""
    return [
        (role, name)
        for role, name in participants
        if may_read(connection, queue_names(role, name)[0])
    ]


def _more(connection: pika.BlockingConnection, others: Sequence[tuple[Role, str]]) -> list[str]:
    found = ["declare queues"] if may_declare(connection, "colm.draft.") else []
    for exchange, key in ((ASK, "ask"), (STEPS, "draft.x"), (GUIDANCE, "refine.x")):
        if may_publish(connection, exchange, key):
            found.append(f"publish to {exchange}")
    if may_read(connection, SUBMISSIONS):
        found.append(f"read {SUBMISSIONS}")
    for role, name in others:
        if may_publish(connection, DRAFTS, submission_key(role, name)):
            found.append(f"submit as {name}")
    return found
