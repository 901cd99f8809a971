"""No text and no secret is in a log, in Flower, in an event, or in a list of letters."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from celery import Celery

from tests.journeys.site import Site
from tests.provision.process import free_port

#: A word for each place that a text can be in; none may be seen anywhere.
QUESTION = "xyzzy-question-text"
PERSONA = "xyzzy-persona-text"
REPLY = "xyzzy-reply-text"
GARBAGE = "xyzzy-garbage-text"
API_KEY = "xyzzy-api-key"
MARK = "xyzzy"


@contextmanager
def events_of(broker: str) -> Iterator[list[str]]:
    """Every event that a worker or Flower could show, as JSON.

    One consumer from first to last: the queue of events is deleted with its last consumer, so one
    that left and came back would miss what was sent between, and could find the queue half deleted.
    """
    seen: list[str] = []
    app = Celery(broker=broker)
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(
            connection, handlers={"*": lambda event: seen.append(json.dumps(event, default=repr))}
        )
        listener = threading.Thread(target=receiver.capture, kwargs={"wakeup": False})
        listener.start()
        try:
            yield seen
        finally:
            receiver.should_stop = True
            listener.join(20)


def test_no_text_and_no_secret_is_seen_outside_the_record(site: Site) -> None:
    site.configure("ada", "bo")
    config = site.folder / "colm.toml"
    text = config.read_text().replace("You are ada.", PERSONA).replace("client says:", REPLY)
    config.write_text(text.replace("ada, bo: look again", f"ada, bo: {REPLY}"))
    port = free_port()
    site.variables |= {"FLOWER_UNAUTHENTICATED_API": "true", "MY_API_KEY": API_KEY}
    with events_of(site.broker) as seen:
        site.start("flower", "--port", str(port))
        site.start_all("ada", "bo")
        for name in ("coordinator", "server-main", "client-ada-bo"):
            log = site.folder / f"{name}.log"
            site.wait_until(partial(_says, log, " ready."))
        answer = site.ask(f"{QUESTION}?", {"rounds": 1, "select": 1}, timeout=120)
        assert QUESTION in json.dumps(site.life(answer["query_id"]))  # it is in the record
        assert REPLY in str(answer["answer"])
        refused = site.error_of(f"ask.delay('{QUESTION}', clients=['zoe']).get(timeout=60)")
        assert refused[0] == "InvalidAsk"
        _send_garbage(site)
        site.wait_until(
            lambda: len(json.loads(site.colm("dead", "recorded", "--json"))) >= 2, timeout=60
        )
        tasks = json.dumps(_tasks(site, port, answer["query_id"]))

    shown = {
        "Flower": tasks,
        "events": "\n".join(seen),
        "dead recorded": site.colm("dead", "recorded") + site.colm("dead", "recorded", "--json"),
        "dead list": site.colm("dead", "list") + site.colm("dead", "list", "--json"),
        **{log.name: log.read_text(errors="replace") for log in site.folder.glob("*.log")},
    }
    assert "task-received" in shown["events"]
    assert "colm.submit" in shown["coordinator.log"]
    found = {name: _around(text) for name, text in shown.items() if MARK in text}
    assert found == {}
    for password in _passwords(site):
        assert not [name for name, text in shown.items() if password in text]


def _says(log: Path, what: str) -> bool:
    return what in log.read_text(errors="replace")


def _send_garbage(site: Site) -> None:
    """Submissions that are refused: one by the task, one before any task sees it."""
    site.python(
        "import json\n"
        "from colm.tasks import app\n"
        "from colm.tasks.broker.publish import publish, topology\n"
        f"publish(app, 'colm.submit', topology().submissions(), task_id='garbage-0001',"
        f" kwargs={{'submission': {{'worker': '{GARBAGE}'}}}}, summary={{}},"
        " routing_key='draft.ada')\n"
        f"publish(app, 'colm.nonsense', topology().submissions(), task_id='garbage-0002',"
        f" kwargs={{'x': '{GARBAGE}'}}, summary={{}}, routing_key='draft.ada')\n"
        "print(json.dumps(None))"
    )


def _tasks(site: Site, port: int, query_id: str) -> Any:
    """What Flower tells of every task, once it knows that the query has ended."""
    url = f"http://127.0.0.1:{port}/api/tasks"
    for _ in range(60):
        try:
            with urllib.request.urlopen(url, timeout=5) as reply:
                tasks = json.load(reply)
        except OSError:
            tasks = {}
        if tasks.get(query_id, {}).get("state") == "SUCCESS":
            return tasks
        time.sleep(1)
    pytest.fail(f"Flower does not know the query\n{site.logs()}")


def _passwords(site: Site) -> list[str]:
    return [p for p in (urlsplit(site.broker).password, urlsplit(site.database).password) if p]


def _around(text: str) -> str:
    at = text.index(MARK)
    return text[max(0, at - 200) : at + 100]
