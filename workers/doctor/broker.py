"""RabbitMQ: version, alarms, limits, consumer_timeout, clock, and our user's permissions."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
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
from colm.workers.rabbitmq.permission_probe import (
    largest_message,
    may_declare,
    may_publish,
    may_read,
)
from colm.workers.rabbitmq.permissions import queue_names

if TYPE_CHECKING:  # loads httpx, and every coordinator imports this module
    from colm.workers.rabbitmq.management_api import Management

#: The first supported version, and the first unsupported one.
OLDEST, TOO_NEW = (3, 10), (5, 0)
#: RabbitMQ's default consumer_timeout (seconds).
DEFAULT_CONSUMER_TIMEOUT = 1_800.0
CONSUMER_TIMEOUT = "application:get_env(rabbit, consumer_timeout)."
CTL_WITHIN = 30.0
#: A smaller limit rejects usual questions and panels (bytes).
USUAL_MESSAGE = 2**20
#: Connections and channels of one process (docs/how-to/secure-a-site.md); of callers and operators.
COORDINATOR_CONNECTIONS = 9
PARTICIPANT_CONNECTIONS = 4
PARTICIPANT_CHANNELS = 6
OTHER_CONNECTIONS = 2
#: Queues of remote control and Flower.
OTHER_QUEUES = 2


def version(connection: pika.BlockingConnection) -> Finding:
    """Whether CoLM supports this version of RabbitMQ."""
    # pika has no public access to the server properties.
    release = str(connection._impl.server_properties.get("version", "unknown"))
    numbers = tuple(int(part) for part in re.findall(r"\d+", release)[:2])
    if not OLDEST <= numbers < TOO_NEW:
        return problem("broker", f"RabbitMQ {release}", "use RabbitMQ 3.10 to 4.x")
    return ok("broker", f"RabbitMQ {release}")


def alarms(api: Management) -> Finding:
    """Memory and disk alarms: a node with one accepts no messages."""
    reply = api.check("health", "checks", "alarms")
    if reply.status_code == 200:
        return ok("alarms", "none")
    resources = re.findall(r'"resource":\s*"(\w+)"', reply.text) or ["a resource"]
    do = "free memory or disk on the broker's machine: until then it accepts no messages"
    return problem("alarms", f"raised for {', '.join(sorted(set(resources)))}", do)


def broker_clock(api: Management, deadlines: Deadlines) -> Finding:
    """This machine's clock against the broker's, to a second: HTTP dates have no fractions."""
    before = time.time()
    date = api.check("overview").headers.get("date")
    after = time.time()
    if date is None:
        return warning("clock against the broker's", "the broker sent no date", "run NTP on both")
    theirs = parsedate_to_datetime(date).timestamp() + 0.5
    return clock("broker", (before + after) / 2 - theirs, 0.5 + (after - before) / 2, deadlines)


def message_size(connection: pika.BlockingConnection) -> Finding:
    """The broker's max_message_size against CoLM's largest message."""
    return judge_message_size(largest_message(connection, MAX_BODY_BYTES))


def judge_message_size(most: int | None) -> Finding:
    """The finding for a max_message_size of `most` bytes; None is no limit for us."""
    about = "max_message_size"
    if most is None:
        return ok(about, f"at least the {MAX_BODY_BYTES} bytes of the largest message")
    detail = f"{most} bytes; messages of up to {MAX_BODY_BYTES} bytes fail above it"
    do = f"max_message_size = {MAX_BODY_BYTES} or more in rabbitmq.conf"
    return (problem if most < USUAL_MESSAGE else warning)(about, detail, do)


def limits(api: Management, config: Settings, queues: int, users: Sequence[str]) -> Findings:
    """Limits of the virtual host and of `users`, the users of participants.

    `queues` is the number of queues that a coordinator declares.
    """
    of_vhost = _limits(api.get("vhost-limits", api.vhost))
    processes = len(config.clients) + len(config.servers)
    needed = COORDINATOR_CONNECTIONS + processes * PARTICIPANT_CONNECTIONS + OTHER_CONNECTIONS
    yield from judge_limit("the virtual host", "max-connections", of_vhost, needed)
    yield from judge_limit("the virtual host", "max-queues", of_vhost, queues + OTHER_QUEUES)
    for user in users:
        of_user = _limits(api.get("user-limits", user))
        name = f"user {user}"
        yield from judge_limit(name, "max-connections", of_user, PARTICIPANT_CONNECTIONS)
        yield from judge_limit(name, "max-channels", of_user, PARTICIPANT_CHANNELS)


def judge_limit(whose: str, limit: str, limits: Mapping[str, int], needed: int) -> Findings:
    """A finding for a limit below `needed`."""
    most = limits.get(limit, -1)
    if 0 <= most < needed:
        detail = f"{limit} of {whose} is {most}; this site needs up to {needed}"
        setting = (
            "set_user_limits USER" if whose.startswith("user") else "set_vhost_limits -p VHOST"
        )
        yield problem("limits", detail, f"rabbitmqctl {setting} '{{\"{limit}\":{needed}}}'")


def _limits(reply: Any) -> Mapping[str, int]:
    """The limits in a reply of the API: a list of at most one entry."""
    match reply:
        case [{"value": dict() as value}, *_]:
            return {str(name): int(most) for name, most in value.items()}
        case _:
            return {}


def max_ack_delay(deadlines: Deadlines) -> float:
    """The longest time that a worker holds a message unacked (seconds)."""
    stages: list[float] = [
        limit for stage, limit in deadlines.model_dump().items() if stage != "query"
    ]
    return max(max(stages) + HANG_GRACE, GIVE_UP_AFTER)


def consumer_timeout(config: Settings, api: Management | None) -> Finding:
    """RabbitMQ's consumer_timeout against the longest deadline."""
    return judge_consumer_timeout(_consumer_timeout(config, api), max_ack_delay(config.deadlines))


def judge_consumer_timeout(timeout: float | None, longest: float) -> Finding:
    """The finding for a consumer_timeout in seconds; None is unknown."""
    about, detail = "consumer_timeout", f"a worker holds a message for up to {longest:.0f} s"
    do = (
        f"set consumer_timeout in rabbitmq.conf above {1000 * longest:.0f} ms, or lower [deadlines]"
    )
    if timeout is None:
        if longest >= DEFAULT_CONSUMER_TIMEOUT:
            return warning(about, f"unknown, 1800 s by default; {detail}", do)
        look = f"rabbitmqctl eval '{CONSUMER_TIMEOUT}'"
        return ok(about, f"unknown ({look}); {detail}, below the default")
    if timeout <= longest:
        return problem(about, f"{timeout:.0f} s; {detail}: it would be redelivered", do)
    return ok(about, f"{timeout:.0f} s; {detail}")


def read_consumer_timeout(output: str) -> float | None:
    """Parses the output of `rabbitmqctl eval`; infinite for a timeout that is off."""
    if match := re.search(r"\{ok,\s*(\d+)\}", output):
        return int(match[1]) / 1000
    return float("inf") if "undefined" in output else None


def _consumer_timeout(config: Settings, api: Management | None) -> float | None:
    """Asks the broker's node by rabbitmqctl if it runs on this machine."""
    host = urlsplit(config.broker_url).hostname
    control = shutil.which("rabbitmqctl")
    if control is None or api is None or host not in ("localhost", "127.0.0.1", "::1"):
        return None  # without the node's name, rabbitmqctl could ask another node
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
    """Whether our user has the permissions of a coordinator."""
    missing = [] if may_declare(connection, "colm.draft.") else ["declare queues"]
    for exchange in (ASK, STEPS, GUIDANCE):
        if may_publish(connection, exchange, "colm.rights") is False:
            missing.append(f"publish to {exchange}")
    if may_read(connection, SUBMISSIONS) is False:
        missing.append(f"read {SUBMISSIONS}")
    if missing:
        do = "rabbitmqctl set_permissions --vhost VHOST USER '.*' '.*' '.*', or --broker-only"
        return problem("permissions", f"this user may not {', nor '.join(missing)}", do)
    return ok("permissions", "this user has a coordinator's permissions")


def rights_of_participant(
    connection: pika.BlockingConnection, role: Role, name: str, others: Sequence[tuple[Role, str]]
) -> Findings:
    """Whether our user has exactly the permissions of `name`, as far as they can be tried."""
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
        do = f"create its own, restricted user: colm {role} add {name}"
        yield warning(about, f"this user may also {', '.join(more)}", do)
    else:
        yield ok(about, "this user has exactly the permissions that it needs")


def readable_by_us(
    connection: pika.BlockingConnection, participants: Sequence[tuple[Role, str]]
) -> list[tuple[Role, str]]:
    """The participants whose first queue our user may read."""
    return [
        (role, name)
        for role, name in participants
        if may_read(connection, queue_names(role, name)[0])
    ]


def _more(connection: pika.BlockingConnection, others: Sequence[tuple[Role, str]]) -> list[str]:
    rights = ["declare queues"] if may_declare(connection, "colm.draft.") else []
    for exchange, key in ((ASK, "ask"), (STEPS, "draft.x"), (GUIDANCE, "refine.x")):
        if may_publish(connection, exchange, key):
            rights.append(f"publish to {exchange}")
    if may_read(connection, SUBMISSIONS):
        rights.append(f"read {SUBMISSIONS}")
    for role, name in others:
        if may_publish(connection, DRAFTS, submission_key(role, name)):
            rights.append(f"submit as {name}")
    return rights
