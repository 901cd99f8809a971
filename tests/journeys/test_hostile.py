"""Messages that no caller of ours sends, and sites that are used up: no worker may die of them."""

from __future__ import annotations

import bz2
import json
from functools import partial
from pathlib import Path
from typing import Any

import pika
import pytest

from tests.journeys.site import Site

PUBLISH = """
import json
from colm.tasks import app, ask
from colm.tasks.broker.publish import publish, topology
"""


def test_a_message_of_an_unknown_task_kills_no_coordinator(site: Site) -> None:
    site.configure("ada")
    site.start_all("ada")
    assert site.ask("Before?", {"rounds": 1})["status"] == "answered"

    site.python(
        PUBLISH
        + "publish(app, 'colm.nonsense', topology().submissions(), task_id='x' * 8,"
        + " kwargs={}, summary={}, routing_key='draft.ada')\nprint(json.dumps(None))"
    )

    assert site.ask("After?", {"rounds": 1})["status"] == "answered"
    assert site.processes["coordinator"].poll() is None


def test_a_revoked_ask_ends_refused_and_kills_no_coordinator(site: Site) -> None:
    site.configure("ada")
    site.start_all("ada")
    site.ask("Is the coordinator up?", {"rounds": 1})

    kind, text = site.error_of(
        "(ask.app.control.revoke('revoked-ask-1'), __import__('time').sleep(1),"
        " ask.apply_async(('Never mind?',), task_id='revoked-ask-1').get(timeout=20))"
    )

    assert kind == "InvalidAsk"
    assert "revoked" in text
    assert site.processes["coordinator"].poll() is None


def test_an_ask_cannot_be_given_what_it_could_not_keep(site: Site) -> None:
    site.configure("ada")

    kind, text = site.error_of("ask.apply_async(('Later?',), countdown=60)")

    assert kind == "InvalidAsk"
    assert "countdown" in text


def test_two_coordinators_share_the_work_on_one_host(site: Site) -> None:
    site.configure("ada", "bo")
    site.start_all("ada", "bo")
    site.start("coordinator", known_as="second")
    queries = [site.submit(f"Question {n}?", {"rounds": 1}) for n in range(4)]

    for query in queries:
        assert site.result(query)["status"] == "answered"
    assert site.processes["coordinator"].poll() is None
    assert site.processes["second"].poll() is None


def test_a_full_queue_refuses_a_question_and_says_so(site: Site) -> None:
    if not site.broker.startswith("amqp"):
        pytest.skip("the embedded broker's queues have no bound")
    site.configure("ada")
    site.variables["COLM_LIMITS__QUEUE_LENGTH"] = "100"

    accepted, kind, text = site.python(
        "import json\nfrom colm.tasks import ask\n"
        "accepted = 0\n"
        "try:\n"
        "    for n in range(110):\n"
        "        ask.delay('Is there room?')\n"
        "        accepted += 1\n"
        "except Exception as error:\n"
        "    print(json.dumps([accepted, type(error).__name__, str(error)]))"
    )

    assert kind == "Overloaded"
    assert "colm.ask is full" in text
    assert 100 <= accepted < 110


def test_drafts_too_long_for_one_panel_are_cut_and_the_query_ends(site: Site) -> None:
    site.configure("ada", "bo")
    site.start("coordinator")
    site.start("server", "main")
    query = site.submit("How long?", {"rounds": 1})

    site.python(
        "import json, time\n"
        "from colm.models.messages import Completion, Submission\n"
        "from colm.tasks.broker.publish import send_submission\n"
        "time.sleep(3)\n"
        "for act in ('draft', 'refine'):\n"
        "    for name in ('ada', 'bo'):\n"
        "        completion = Completion(text='word ' * 39_999, finish_reason='stop',"
        " prompt_tokens=1, completion_tokens=1, engine='test', model='test')\n"
        f"        send_submission(Submission(query_id={query!r}, round=1, act=act,"
        " participant=name, worker='w', completion=completion), routing_key=f'draft.{name}')\n"
        "    time.sleep(3)\n"
        "print(json.dumps(None))"
    )

    assert site.result(query)["status"] == "answered"
    life = site.life(query)
    (asked,) = [e["what"] for e in life["entries"] if e["what"].get("act") == "synthesize"]
    assert "characters left out" in json.dumps(asked["messages"])


def test_a_caller_whose_limits_differ_from_the_sites_is_answered_all_the_same(site: Site) -> None:
    site.configure("ada")
    site.start_all("ada")
    assert site.ask("With the site's limits?", {"rounds": 1})["status"] == "answered"

    site.variables["COLM_LIMITS__DELIVERY_LIMIT"] = "6"

    assert site.ask("With others?", {"rounds": 1})["status"] == "answered"


def _says(log: Path, what: str) -> bool:
    return what in log.read_text(errors="replace")


GARBAGE: list[tuple[bytes, dict[str, Any]]] = [
    (b"", {}),
    (b"\xff\xfe\x00", {}),
    (b"[" * 200_000, {}),
    (b"9" * 10_000, {}),
    (b"x" * (8 * 2**20 + 1), {}),
    (b"[]", {}),
    (b"{}", {}),
    (b'[[], {"submission": ' + b"[" * 60 + b"]" * 60 + b"}, null]", {}),
    (b'[[], {"submission": {}}, {"callbacks": [{"task": "colm.ask"}]}]', {}),
    (b'[[], {"self": 1}, null]', {}),
    (b'[[1, 2, 3], {"submission": null}, null]', {}),
    (b"cos\nsystem\n(S'true'\ntR.", {"content_type": "application/x-python-serialize"}),
    (b"[[], {}, null]", {"content_type": "text/plain"}),
    (b"[[], {}, null]", {"content_encoding": "no-such-coding"}),
    (bz2.compress(b"[" * 10_000_000), {"headers": {"compression": "application/x-bz2"}}),
    (b"[[], {}, null]", {"headers": {"id": None}}),
    (b"[[], {}, null]", {"headers": {"id": {"a": [1]}}}),
    (b"[[], {}, null]", {"headers": {"task": None}}),
    (b"[[], {}, null]", {"headers": {"task": "celery.chord"}}),
    (b"[[], {}, null]", {"headers": {"task": 7}}),
    (b"[[], {}, null]", {"headers": {"eta": "9999-01-01T00:00:00"}}),
    (b"[[], {}, null]", {"headers": {"expires": "soon"}}),
    (b"[[], {}, null]", {"headers": {"timelimit": "x"}}),
    (b"[[], {}, null]", {"headers": {"kwargsrepr": "x" * 100_000}}),
]


@pytest.mark.transport
def test_garbage_on_the_wire_kills_nobody_and_is_recorded_with_its_reason(site: Site) -> None:
    if not site.broker.startswith("amqp"):
        pytest.skip("the embedded broker has no wire for strangers")
    site.configure("ada")
    site.start_all("ada")
    for name in ("coordinator", "server-main", "client-ada"):
        log = site.folder / f"{name}.log"
        site.wait_until(partial(_says, log, " ready."))
    assert site.ask("Before?", {"rounds": 1})["status"] == "answered"

    ways = [("colm.drafts", "draft.ada"), ("colm.steps", "draft.ada"), ("colm.ask", "ask"),
            ("colm.steps", "synthesize.main"), ("colm.steps", "draft.nobody")]  # fmt: skip
    with pika.BlockingConnection(pika.URLParameters(site.broker)) as connection:
        channel = connection.channel()
        for exchange, key in ways:
            for n, (body, changes) in enumerate(GARBAGE):
                task = {"colm.drafts": "colm.submit", "colm.ask": "colm.ask"}.get(exchange)
                usual = {"task": task or f"colm.{key.split('.')[0]}", "id": f"garbage.{key}.{n}"}
                fields = {"content_type": "application/json", "content_encoding": "utf-8"}
                headers = {**usual, **changes.get("headers", {})}
                sent = pika.BasicProperties(**{**fields, **changes, "headers": headers})
                channel.basic_publish(exchange, key, body, sent)

    assert site.ask("After?", {"rounds": 1}, timeout=90)["status"] == "answered"
    found: list[Any] = []

    def all_recorded() -> bool:
        found[:] = json.loads(site.colm("dead", "recorded", "--limit", "500", "--json"))
        # A letter whose id cannot be read gets one of its own.
        return len(found) >= len(ways) * len(GARBAGE)

    site.wait_until(all_recorded)
    reasons = " ".join(letter["reason"] for letter in found)
    for reason in ("cannot be decoded", "content type", "compressed", "it carries callbacks",
                   "8388609 bytes", "unroutable", "deeper than 32", "has eta"):  # fmt: skip
        assert reason in reasons
    for process in site.processes.values():
        assert process.poll() is None
    for log in site.folder.glob("*.log"):
        assert "Unrecoverable error" not in log.read_text(), log.name
