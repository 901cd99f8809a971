"""Celery's own ways on a whole site: one caller goes all of them, on each stack."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from colm.workers.local_stack.embedded_broker import EmbeddedBroker
from tests.journeys.site import Site
from tests.provision import Databases, VirtualHosts

#: Each way under its name, with what came of it: a value, or an error's name and text.
CALLER = """
import asyncio, json, threading
from celery import Celery, chain, chord, group
from celery.contrib.testing.worker import start_worker
from celery.result import ResultSet, allow_join_result
from colm.tasks import app, ask
from colm.tasks.broker.publish import topology

ALONE = {"strategy": "single", "participant": "ada"}
other = Celery("other", broker="memory://", backend="cache+memory://", set_as_current=False)
stranger = Celery("stranger", broker=app.conf.broker_url, set_as_current=False)
told = {}

@other.task(name="other.about", shared=False)
def about(what):
    return f"all about {what}"

@other.task(name="other.asks", shared=False)
def asks():
    with allow_join_result():
        return ask.delay("from a task", **ALONE).get(timeout=60)["status"]

def way(does):
    try:
        told[does.__name__] = does()
    except Exception as error:
        told[does.__name__] = [type(error).__name__, str(error)]

def statuses(answers):
    return [answer["status"] for answer in answers]

def by_name(query_id, **options):
    stranger.send_task(
        "colm.ask", ["by name"], ALONE, task_id=query_id, queue=topology().ask(),
        exchange="colm.ask", routing_key="ask", declare=[topology().ask()], **options)
    return ask.AsyncResult(query_id).get(timeout=60)["status"]

def a_group():
    return statuses(group(ask.s(f"q{n}", **ALONE) for n in range(3))().get(timeout=60))

def a_map():
    result = ask.starmap([("one",), ("two",)]).apply_async()
    return sorted(meta["status"] for _, meta in result.iter_native(timeout=60))

def a_set():
    return statuses(ResultSet([ask.delay("x", **ALONE) for _ in range(2)]).get(timeout=60))

def a_group_with_a_mistake():
    return group([ask.s("x", **ALONE), ask.s("x", clients=["zoe"])])().get(timeout=60)

def states():
    result = ask.delay("x", **ALONE)
    result.get(timeout=60)
    return [result.state, result.ready(), result.successful(), result.failed(), result.children,
            result.traceback, result.name, result.info["status"], result.get_leaf()["status"]]

def follows():
    return chain(about.s("cats"), ask.s(**ALONE)).apply_async().get(timeout=60)["answer"]

def follows_what_cannot_be_asked():
    return chain(about.s("x" * 40_000), ask.s(**ALONE)).apply_async().get(timeout=60)

def inside_a_task():
    return asks.delay().get(timeout=60)

def a_chord():
    return chord([ask.s("x", **ALONE)], about.s()).apply_async()

def by_name_in_a_group():
    return by_name("by-name-in-a-group", group_id="a-strangers-group")

def by_name_and_rejected():
    return by_name("by-name-and-rejected", expires=3600)

def revoked():
    result = ask.delay("x", **ALONE)
    result.revoke(terminate=True)
    return result.get(timeout=60)

def a_group_revoked():
    result = ask.map(["one", "two"]).apply_async()
    result.revoke()
    return [str(error) for error in result.get(timeout=60, propagate=False)]

def revoked_before_it_was_asked():
    app.control.revoke("not-asked-yet")
    try:
        ask.AsyncResult("not-asked-yet").get(timeout=60)
    except Exception:
        return ask.apply_async(("x",), ALONE, task_id="not-asked-yet").get(timeout=60)

def in_an_event_loop():
    async def one():
        result = await asyncio.to_thread(ask.delay, "x", **ALONE)
        return await asyncio.to_thread(result.get, timeout=60)
    async def several():
        return await asyncio.gather(one(), one())
    return statuses(asyncio.run(several()))

def on_threads():
    found = []
    def one(n):
        found.append(ask.delay(f"q{n}", **ALONE).get(timeout=120)["status"])
    threads = [threading.Thread(target=one, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [len(found), *sorted(set(found))]

with start_worker(other, pool="solo", perform_ping_check=False, loglevel="CRITICAL"):
    for does in (a_group, a_map, a_set, a_group_with_a_mistake, states, follows,
                 follows_what_cannot_be_asked, inside_a_task, a_chord, by_name_in_a_group,
                 by_name_and_rejected, revoked, a_group_revoked, revoked_before_it_was_asked,
                 in_an_event_loop, on_threads):
        way(does)
print(json.dumps(told))
"""

#: What came of each way. An error is its name and words of it.
EXPECTED: dict[str, Any] = {
    "a_group": ["answered"] * 3,
    "a_map": ["SUCCESS"] * 2,
    "a_set": ["answered"] * 2,
    "a_group_with_a_mistake": ("InvalidAsk", "unknown client 'zoe'"),
    "states": ["SUCCESS", True, True, False, [], None, "colm.ask", "answered", "answered"],
    "follows_what_cannot_be_asked": ("InvalidAsk", "question: String should have at most"),
    "inside_a_task": "answered",
    "a_chord": ("InvalidAsk", "nothing can follow ask"),
    "by_name_in_a_group": "answered",
    "by_name_and_rejected": ("InvalidAsk", "it has expires"),
    "revoked_before_it_was_asked": ("InvalidAsk", "revoked"),
    "in_an_event_loop": ["answered"] * 2,
    "on_threads": [20, "answered"],
}


@pytest.fixture(
    scope="module",
    params=[
        "embedded",
        pytest.param("rabbitmq", marks=[pytest.mark.rabbitmq, pytest.mark.postgres]),
    ],
)
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """A running site that all tests of this file share."""
    folder = tmp_path_factory.mktemp("site")
    if request.param == "embedded":
        database = folder / "colm.db"
        database.write_bytes(request.getfixturevalue("sqlite_template").read_bytes())
        with EmbeddedBroker(tmp_path_factory.mktemp("broker")) as broker:
            yield from running(Site(folder, broker=broker.url, database=f"sqlite:///{database}"))
    else:
        hosts: VirtualHosts = request.getfixturevalue("rabbitmq_vhosts")
        databases: Databases = request.getfixturevalue("postgres_databases")
        with hosts.fresh() as url, databases.migrated() as record:
            yield from running(Site(folder, broker=url, database=record))


def running(site: Site) -> Iterator[Site]:
    site.configure("ada", delay=0.2)
    site.start("coordinator")
    site.start("client", "ada")
    try:
        yield site
    finally:
        site.close()


@pytest.fixture(scope="module")
def told(site: Site) -> dict[str, Any]:
    program = Path(site.folder) / "caller.py"
    program.write_text(CALLER)
    found: dict[str, Any] = site.python(
        f"exec(compile(open({str(program)!r}).read(), 'caller.py', 'exec'))", timeout=280
    )
    return found


@pytest.mark.parametrize("way", EXPECTED)
def test_each_way_ends_as_it_should(told: dict[str, Any], way: str) -> None:
    match EXPECTED[way]:
        case (str(kind), str(words)):
            assert told[way][0] == kind
            assert words in told[way][1]
        case value:
            assert told[way] == value


def test_an_ask_that_follows_another_task_asks_what_that_one_gave(told: dict[str, Any]) -> None:
    assert told["follows"].startswith("client says: all about cats")


def test_a_revoked_query_ends_as_cancelled(told: dict[str, Any]) -> None:
    kind, text = told["revoked"]
    assert kind in ("QueryFailed", "InvalidAsk")  # it had been taken from its queue, or had not
    assert "revoked" in text
    assert ["revoked" in text for text in told["a_group_revoked"]] == [True, True]


def test_what_was_refused_in_the_caller_left_no_letter(told: dict[str, Any], site: Site) -> None:
    assert "a_chord" in told
    letters = json.loads(site.colm("dead", "recorded", "--json"))
    rejected = {letter["message_id"] for letter in letters}
    assert rejected == {"by-name-and-rejected"}
