"""What people see in Flower while a query runs."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from tests.journeys.site import Site
from tests.provision.process import free_port


def test_flower_shows_every_kind_of_task_with_arguments_that_can_be_read(site: Site) -> None:
    site.configure("ada", "bo")
    port = free_port()
    site.variables["FLOWER_UNAUTHENTICATED_API"] = "true"
    site.start("flower", "--port", str(port))
    site.start_all("ada", "bo")
    log = site.folder / f"flower---port-{port}.log"
    site.wait_until(lambda: "Connected to" in log.read_text())

    answer = site.ask("A secret question?", {"rounds": 1, "select": 1})

    steps = 1 + 1 + 1 + 2  # select, one draft, synthesize, two refinements
    site.wait_until(lambda: len(_finished(port)) == 1 + 2 * steps)
    tasks = _get(port, "tasks")
    ask = tasks[answer["query_id"]]
    assert ask["name"] == "colm.ask"
    assert ask["state"] == "SUCCESS"
    assert "answered by" in ask["result"]
    by_name = {task["name"]: task for task in tasks.values()}
    assert set(by_name) == {
        "colm.ask", "colm.select", "colm.draft", "colm.synthesize", "colm.refine", "colm.submit",
    }  # fmt: skip
    assert f"query='{answer['query_id']}'" in by_name["colm.draft"]["kwargs"]
    assert "by='ada'" in by_name["colm.draft"]["kwargs"]
    assert "secret" not in json.dumps(tasks)


def _finished(port: int) -> list[str]:
    return [k for k, task in _get(port, "tasks").items() if task["state"] == "SUCCESS"]


def _get(port: int, what: str) -> Any:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/{what}", timeout=5) as reply:
            return json.load(reply)
    except OSError:
        return {}
