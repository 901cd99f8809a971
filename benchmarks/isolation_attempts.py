"""What a client with bad intentions tries, each with who has to refuse it.

The intruder is the client `a` with its own user; `ab` is its victim, whose name begins with its
own. Each attempt is made on a real broker; what the broker lets through, because a client has to be
able to submit, the coordinator must refuse.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError, ChannelClosedByBroker, ConnectionClosedByBroker

from colm.workers.rabbitmq.management_api import virtual_host

ADMIN = "administrator"
VICTIM_READS = (
    "colm.draft.ab",
    "colm.refine.ab",
    "colm.overnight.ab",
    "colm.step-cancellations.ab",
)
OTHERS_READ = (
    *VICTIM_READS, "colm.synthesize.main", "colm.submissions", "colm.ask", "colm.control",
    "colm.dead", "colm.parked",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One thing tried, and how it has to end."""

    what: str
    #: "broker" and a reply code, "login", "management API" and a status, or "coordinator".
    refused_by: str
    do: Callable[[], str | None]


@dataclass(frozen=True, kw_only=True)
class Intruder:
    """Client a's own login, and what it knows of a query that is not its own."""

    url: str
    api_url: str
    query_id: str
    #: The step that was asked of ab, as if the intruder could know it.
    step: dict[str, Any]

    def connect(self, url: str | None = None) -> pika.BlockingConnection:
        return pika.BlockingConnection(pika.URLParameters(url or self.url))

    def on_channel(self, act: Callable[[BlockingChannel], object]) -> str | None:
        """The broker's refusal; None where `act` went through."""
        with self.connect() as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            try:
                act(channel)
            except ChannelClosedByBroker as error:
                return f"broker {error.reply_code}"
        return None

    def at_login(self, url: str) -> str | None:
        try:
            self.connect(url).close()
        except ConnectionClosedByBroker as error:
            return f"broker {error.reply_code}"
        except AMQPError as error:
            known = {"ACCESS_REFUSED": "login", "(530)": "broker 530"}
            return next((told for sign, told in known.items() if sign in repr(error)), repr(error))
        return None

    def over_http(self, method: str, path: str, body: Any = None) -> str | None:
        login = pika.URLParameters(self.url).credentials
        where = f"http://{self.api_url.rpartition('@')[2]}/api/{path}"
        auth = (login.username, login.password)
        reply = httpx.request(method, where, json=body, auth=auth, trust_env=False, timeout=20)
        return f"management API {reply.status_code}" if reply.is_error else None


def at_the_broker(intruder: Intruder) -> Iterator[Attempt]:
    """What has to end at the broker."""
    on = intruder.on_channel
    for exchange, key in PUBLISHES:
        what = f"publish to {exchange or 'the default exchange'} under {key!r}"
        yield Attempt(what=what, refused_by="broker 403", do=partial(on, publish(exchange, key)))
    for name, act in (("consume from", consume), ("get from", get), ("purge", purge)):
        for queue in OTHERS_READ:
            if (name, queue) == ("get from", "colm.step-cancellations.ab"):
                continue  # a stream is not read so
            do = partial(on, partial(act, queue=queue))
            yield Attempt(what=f"{name} {queue}", refused_by="broker 403", do=do)
    for what, change in CHANGES.items():
        yield Attempt(what=what, refused_by="broker 403", do=partial(on, change))
    spoofed = pika.BasicProperties(user_id="colm-ab")
    do = partial(on, publish("colm.drafts", "draft.a", properties=spoofed))
    yield Attempt(what="publish as the user of ab", refused_by="broker 406", do=do)


def at_the_door(intruder: Intruder) -> Iterator[Attempt]:
    """What has to end before anything is sent."""
    login, _, host = intruder.url.removeprefix("amqp://").rpartition("@")
    user = login.partition(":")[0]
    for what, url in {
        "log in with a wrong password": f"amqp://{user}:wrong@{host}",
        "log in without a password": f"amqp://{user}:@{host}",
        "log in as the user of ab": f"amqp://{user.replace('-a-', '-ab-')}:wrong@{host}",
        "log in as guest": f"amqp://guest:guest@{host}",
    }.items():
        yield Attempt(what=what, refused_by="login", do=partial(intruder.at_login, url))
    other = f"amqp://{login}@{host.partition('/')[0]}/%2F"
    yield Attempt(
        what="use another virtual host", refused_by="broker 530",
        do=partial(intruder.at_login, other),
    )  # fmt: skip
    vhost, everything = virtual_host(intruder.url), {"configure": ".*", "write": ".*", "read": ".*"}
    for what, call in {
        "list users through the management API": ("GET", "users", None),
        "read every definition through it": ("GET", "definitions", None),
        "give itself every right through it": ("PUT", f"permissions/{vhost}/{user}", everything),
        "make itself an administrator through it": ("PUT", f"users/{user}", {"tags": ADMIN}),
    }.items():
        do = partial(intruder.over_http, *call)
        yield Attempt(what=what, refused_by="management API 401", do=do)


def at_the_coordinator(intruder: Intruder) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """What the broker lets through: what it is, a word of the reason, and the message."""
    query = intruder.query_id
    of_victim = submission(query, "ab")
    yield "a submission that names ab", "may not submit", task_message(of_victim)
    yield "a submission for the step that was asked of ab", "was never sent", task_message(
        submission(query, "a")
    )  # fmt: skip
    yield "a submission to a query that is not", "no query", task_message(
        submission("no-such-query-0001", "a")
    )  # fmt: skip
    yield "a question", "does not come by", task_message({}, task="colm.ask")
    yield "the end of a query", "does not come by", task_message(
        {"query": query}, task="colm.cancel"
    )  # fmt: skip
    yield "a task of Celery's own", "no task of ours", task_message({}, task="celery.map")
    errand = {
        "task": "colm.refine",
        "args": [],
        "kwargs": {},
        "options": {"queue": "colm.refine.ab"},
    }
    for order in ("callbacks", "chain", "errbacks", "chord"):
        yield f"a submission that has the coordinator publish ({order})", order, task_message(
            of_victim, embed={order: [errand]}
        )  # fmt: skip
    yield "a submission for next year", "eta", task_message(
        of_victim, headers={"eta": "2036-01-01T00:00:00+00:00"}
    )  # fmt: skip
    dead = json.dumps([[], {"step": intruder.step}, {}])
    yield "the step of ab, to be taken for a dead one", "does not come by", {
        **task_message({}), "task": "colm.draft", "body": dead,
    }  # fmt: skip
    yield "a pickle", "content type", {
        **task_message({}), "content_type": "application/x-python-serialize",
        "raw": pickle.dumps({"a": 1}),
    }  # fmt: skip


def submission(query_id: str, participant: str) -> dict[str, Any]:
    """A completion in the participant's name, as a client sends it."""
    completion = {
        "text": "forged", "finish_reason": "stop", "prompt_tokens": 1, "completion_tokens": 1,
        "engine": "none", "model": "none",
    }  # fmt: skip
    return {
        "query_id": query_id, "round": 1, "act": "draft", "participant": participant, "index": 0,
        "worker": "intruder", "completion": completion,
    }  # fmt: skip


def task_message(
    given: dict[str, Any],
    *,
    task: str = "colm.submit",
    headers: dict[str, Any] | None = None,
    embed: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A Celery message: its task, further headers, and body."""
    kwargs = {"submission": given} if task == "colm.submit" else given
    return {"task": task, "headers": headers or {}, "body": json.dumps([[], kwargs, embed or {}])}


def send(channel: BlockingChannel, message: dict[str, Any], message_id: str) -> None:
    """Publish it under client a's own key, which the broker allows."""
    properties = pika.BasicProperties(
        content_type=message.get("content_type", "application/json"),
        content_encoding="utf-8",
        headers={"task": message["task"], "id": message_id, "lang": "py", **message["headers"]},
    )
    body = message.get("raw") or message["body"].encode()
    channel.basic_publish("colm.drafts", "draft.a", body, properties, mandatory=True)


def publish(
    exchange: str, key: str, properties: pika.BasicProperties | None = None
) -> Callable[[BlockingChannel], object]:
    return lambda channel: channel.basic_publish(exchange, key, b"[[], {}, {}]", properties)


def consume(channel: BlockingChannel, queue: str) -> None:
    # The last is how a stream wants to be asked; others do not mind it.
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(queue, lambda *_: None, arguments={"x-stream-offset": "first"})


def get(channel: BlockingChannel, queue: str) -> None:
    channel.basic_get(queue)


def purge(channel: BlockingChannel, queue: str) -> None:
    channel.queue_purge(queue)


PUBLISHES = (
    ("colm.drafts", "draft.ab"),
    ("colm.drafts", "draft"),
    ("colm.drafts", "draft.a.b"),
    ("colm.drafts", "draft.a\n"),
    ("colm.drafts", "guidance.main"),
    ("colm.drafts", "#"),
    ("colm.guidance", "refine.ab"),
    ("colm.guidance", "refine.a"),
    ("colm.steps", "draft.ab"),
    ("colm.steps", "cancel.ab"),
    ("colm.ask", "ask"),
    ("colm.ask", "control"),
    ("colm.dead", "anything"),
    ("", "colm.submissions"),
    ("", "colm.draft.ab"),
    ("", "colm.dead"),
    ("", "colm.parked"),
    ("amq.topic", "anything"),
    ("celery.pidbox", ""),
)

Change = Callable[[BlockingChannel], object]
CHANGES: dict[str, Change] = {
    "declare a queue": lambda c: c.queue_declare("colm.draft.a2"),
    "declare a queue with a name of the broker's": lambda c: c.queue_declare("", exclusive=True),
    "declare its own queue without bounds": lambda c: c.queue_declare("colm.draft.a", durable=True),
    "declare an exchange": lambda c: c.exchange_declare("colm.mine", "fanout"),
    "declare the exchange of events": lambda c: c.exchange_declare(
        "celeryev", "topic", durable=True
    ),
    "delete the queue of ab": lambda c: c.queue_delete("colm.draft.ab"),
    "delete its own queue": lambda c: c.queue_delete("colm.draft.a"),
    "delete the queue of submissions": lambda c: c.queue_delete("colm.submissions"),
    "delete the exchange of submissions": lambda c: c.exchange_delete("colm.drafts"),
    "delete the exchange of events": lambda c: c.exchange_delete("celeryev"),
    "bind its queue to the steps of ab": lambda c: c.queue_bind(
        "colm.draft.a", "colm.steps", "draft.ab"
    ),
    "bind its queue to all submissions": lambda c: c.queue_bind("colm.draft.a", "colm.drafts", "#"),
    "bind its queue to the events": lambda c: c.queue_bind("colm.draft.a", "celeryev", "#"),
    "bind its queue to the broker's trace": lambda c: c.queue_bind(
        "colm.draft.a", "amq.rabbitmq.trace", "#"
    ),
    "unbind the queue of ab": lambda c: c.queue_unbind("colm.draft.ab", "colm.steps", "draft.ab"),
    "unbind its own queue": lambda c: c.queue_unbind("colm.draft.a", "colm.steps", "draft.a"),
    "bind one exchange to another": lambda c: c.exchange_bind("colm.drafts", "colm.steps", "#"),
    "unbind one exchange from another": lambda c: c.exchange_unbind(
        "colm.drafts", "colm.steps", "#"
    ),
}
