"""An evaluation on a whole site: killed anywhere it goes on, and nothing finished is done twice."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from colm.db.runs import store
from colm.db.runs.progress import progress_of
from tests.journeys.site import Site

EXAMPLES = 24
ENTRIES = 3
CONFIG = """
concurrency = 4
[data]
source = "items.jsonl"
[[entries]]
name = "ada"
strategy = "single"
options = { participant = "ada" }
[[entries]]
name = "server"
strategy = "single"
options = { participant = "main" }
[[entries]]
name = "colm"
options = { rounds = 1 }
"""
#: What a process of a participant works on at once.
CAPACITY = 8


def order(site: Site, name: str = "night") -> None:
    write_night(site)
    site.wait_until(lambda: "ready." in (site.folder / "coordinator.log").read_text())
    site.colm("evaluate", "night.toml", "--name", name, "--no-follow")


def write_night(site: Site) -> None:
    rows = [{"id": f"e{n}", "question": f"What is {n}?", "answer": str(n)} for n in range(EXAMPLES)]
    rows = [{**row, "kind": "numeric"} for row in rows]
    (site.folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (site.folder / "night.toml").write_text(CONFIG)


def shown(site: Site, name: str = "night") -> Any:
    return json.loads(site.colm("run", "show", name, "--json"))


def taken(site: Site) -> Counter[str]:
    """How often each step was begun, by the logs of the participants."""
    logs = [*site.folder.glob("client-*.log"), *site.folder.glob("server-*.log")]
    return Counter(
        step for log in logs for step in re.findall(r"step (\S+) taken", log.read_text())
    )


def done(site: Site) -> int:
    with site.record() as engine:
        return progress_of(engine, "night", datetime.now(UTC)).done


def as_ordered(site: Site) -> store.Run:
    with site.record() as engine:
        return store.find(engine, "night")


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_run_goes_on_whoever_is_killed_and_repeats_nothing_finished(site: Site) -> None:
    site.configure("ada", "bo", delay=1.5, draft=60, refine=60, synthesize=60, query=240)
    site.start_all("ada", "bo")
    site.start("evaluator")
    order(site)

    site.wait_until(lambda: done(site) >= 3)
    site.kill("evaluator")
    before = done(site)
    site.start("evaluator")
    site.wait_until(lambda: done(site) >= before + 3)
    site.kill("coordinator")
    site.start("coordinator")
    before = done(site)
    site.wait_until(lambda: done(site) >= before + 3)
    assert set(taken(site).values()) == {1}

    site.kill("client", "ada", "bo")
    site.kill("evaluator")
    site.start("client", "ada", "bo")
    site.start("evaluator")
    site.wait_until(lambda: as_ordered(site).state == "done", timeout=120)

    run = shown(site)
    assert run["units"] == run["done"] == EXAMPLES * ENTRIES
    by_entry = {entry["entry"]: entry for entry in run["progress"]["entries"]}
    assert {name: entry["done"] for name, entry in by_entry.items()} == {
        "ada": EXAMPLES, "server": EXAMPLES, "colm": EXAMPLES,
    }  # fmt: skip
    assert sum(entry["failed"] for entry in by_entry.values()) == 0
    assert [event["what"] for event in run["events"]].count("taken") == 3
    sharing = run["progress"]["sharing"]
    # Alone: 1 draft each; colm: 2 drafts, a synthesis, 2 refinements. One of its drafts is shared.
    assert sharing["steps_asked"] == EXAMPLES * 7
    assert sharing["steps_generated"] == EXAMPLES * 6
    counts = taken(site)
    assert len(counts) == EXAMPLES * 6
    repeated = sum(counts.values()) - len(counts)
    assert repeated <= CAPACITY, "only what the killed client had in its hands is done again"


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_run_is_paused_resumed_and_cancelled(site: Site) -> None:
    # Steps that take long: every `colm` in between is a process of its own to start.
    site.configure("ada", "bo", delay=5, draft=60, refine=60, synthesize=60)
    site.start_all("ada", "bo")
    site.start("evaluator")
    order(site)
    site.wait_until(lambda: done(site) >= 1)

    assert "is paused" in site.colm("run", "pause", "night")
    site.wait_until(lambda: as_ordered(site).owner is None)
    before = done(site)
    assert 1 <= before < EXAMPLES * ENTRIES
    assert "open" not in site.statuses().values()
    assert "is open" in site.colm("run", "resume", "night")
    site.wait_until(lambda: done(site) > before)
    assert "is cancelled" in site.colm("run", "cancel", "night")
    site.wait_until(lambda: as_ordered(site).owner is None)
    site.wait_until(lambda: "open" not in site.statuses().values())
    assert "cannot be resumed" in site.colm("run", "resume", "night", status=1)


def test_a_run_that_this_site_cannot_do_fails_at_once_and_says_why(site: Site) -> None:
    site.configure("bo")
    site.start("coordinator")
    order(site)
    run = shown(site)
    assert run["state"] == "failed"
    assert "unknown participant" in run["note"] or "ada" in run["note"]


TICK = """
import json
from datetime import UTC, datetime, timedelta
from celery.beat import Scheduler
from colm.tasks import app
app.loader.init_worker()
app.finalize()
scheduler = Scheduler(app=app)
scheduler.schedule["nightly"].last_run_at = datetime.now(UTC) - timedelta(days=2)
scheduler.tick()
print(json.dumps(sorted(scheduler.schedule)))
"""


def test_beat_orders_an_evaluation_when_it_is_due(site: Site) -> None:
    """Celery's own scheduler, which was last at it two days ago."""
    site.configure("ada", "bo")
    with (site.folder / "colm.toml").open("a") as settings:
        settings.write('[schedules.nightly]\nevaluate = "night.toml"\nwhen = "daily 22:00"\n')
    site.start_all("ada", "bo")
    site.start("evaluator")
    write_night(site)

    assert "nightly" in site.python(TICK)

    def found() -> Any:
        return json.loads(site.colm("run", "list", "--json"))

    site.wait_until(lambda: bool(found()) and found()[0]["done"] > 0)
    assert [run["run"].rpartition("-")[0][:6] for run in found()] == ["night-"]
    assert found()[0]["units"] == EXAMPLES * ENTRIES
