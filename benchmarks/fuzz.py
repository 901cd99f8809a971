"""Sends strange messages through the whole path of a submission, and looks at what is recorded.

    python -m benchmarks.fuzz --messages 100000 [--seed 1]

Each message goes the way of a delivered one: the gate of a coordinator's worker, the task body, the
`Coordinator`, a `SqlRecord` on SQLite; a body that is JSON also through the decoders of every kind
of message. A fault of ours ends the run with the smallest message that shows it: an exception that
no worker expects, a message that computes for seconds, a row that should not exist.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import hypothesis
from celery.exceptions import Ignore, Reject
from sqlalchemy import func, select

from benchmarks.fuzz_messages import CLIENTS, MESSAGES, PARTICIPANTS, QUERIES, Sent
from colm.db.connection import connect
from colm.db.record.locked_query import MAX_LATE
from colm.db.record.store import SqlRecord
from colm.db.schema import migrate, tables
from colm.models.errors import BadMessage
from colm.models.messages import (
    Answer,
    AskRequest,
    Attempt,
    Deadlines,
    Participant,
    Step,
    Submission,
    decode,
)
from colm.models.redelivery import AttemptLimits
from colm.models.roster import Roster
from colm.tasks import dependencies, steps
from colm.tasks.broker.rate_limit import TokenBucket
from colm.tasks.celery_app import app
from colm.workers.consumer.message_validation import MAX_BODY_BYTES, validate_message
from colm.workers.coordinator.coordinator import Coordinator

#: Messages for one database: then a fresh one, with every query open again.
BATCH = 2_000
#: Messages until the deadline of a stage passes.
STAGE = 400
#: The longest that one message may compute; a busy machine may make it wait (seconds).
MOST_SECONDS = 5.0
KINDS = (Submission, Attempt, Step, AskRequest, Answer)
DEADLINES = Deadlines(draft=80_000, synthesize=80_000, refine=80_000, query=600_000)


class Silent:
    """Tells nobody."""

    def refused(self, query_id: str, reason: str) -> None: ...

    def ended(self, answer: Answer) -> None: ...


@dataclass
class Target:
    """A coordinator of 40 open queries on a database of its own."""

    folder: Path
    counts: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    #: How far its clock is ahead: deadlines pass.
    ahead: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        url = f"sqlite:///{self.folder / 'record.sqlite'}"
        migrate.upgrade(url)
        self.engine = connect(url)
        self.record = SqlRecord(self.engine)
        self.coordinator = Coordinator(
            record=self.record,
            roster=Roster(
                clients={n: Participant(name=n, role="client") for n in CLIENTS},
                servers={"main": Participant(name="main", role="server")},
                deadlines=DEADLINES,
            ),
            send=lambda _step: None,
            stop=lambda _to, _stop: None,
            limits=AttemptLimits(),
            mark=lambda _ids: None,
            announce=Silent(),
            clock=lambda: datetime.now(UTC) + self.ahead,
        )
        dependencies.install_coordinator(self.coordinator, self.record)
        _letters = TokenBucket(1e9, 1e9)  # every refusal is recorded: that is tried too
        for query_id in QUERIES:
            self.coordinator.accept(query_id, "Why?", {"rounds": 1})

    def take(self, sent: Sent) -> None:
        """Deliver one message. Raises what no worker expects."""
        started = time.thread_time()
        self.counts[self._deliver(sent)] += 1
        took = time.thread_time() - started
        self.slowest = max(self.slowest, took)
        if self.counts.total() % STAGE == 0:
            self.ahead += timedelta(seconds=DEADLINES.draft)
            self.coordinator.process_due()
        if took > MOST_SECONDS:
            raise AssertionError(f"a message took {took:.1f} s of computing")

    def _deliver(self, sent: Sent) -> str:
        _decode(sent.body)
        message = sent.as_delivered()
        if validate_message(message, app.tasks) is not None:
            return "turned away"
        args, fields, _embed = message.payload
        if sent.headers["task"] not in ("colm.submit", "colm.attempt"):
            return "not for the coordinator"
        task = app.tasks[sent.headers["task"]]
        task.push_request(id=sent.headers["id"], delivery_info=message.delivery_info)
        try:
            told = task.run(*args, **fields)
        except Reject:
            return "refused"
        except Ignore:
            return "refused, not recorded"
        except TypeError:
            if "self" in fields:  # Python's own refusal of a second `self`: Celery rejects it
                return "refused"
            raise
        finally:
            task.pop_request()
        self._expect(sent, told)
        return f"{sent.headers['task']} {told['receipt']}"

    def _expect(self, sent: Sent, told: dict[str, str]) -> None:
        """What was taken was for a step of the sender's own."""
        sender = sent.routing_key.split(".", 1)[1]
        if told["step"].rsplit(".", 2)[1] != sender or sender not in PARTICIPANTS:
            raise AssertionError(f"{sender} submitted for {told['step']}")

    def check(self) -> None:
        """Every row has a reason to be there. Raises AssertionError."""
        taken = self.counts["colm.submit recorded"] + self.counts["colm.submit late"]
        with self.engine.connect() as connection:
            outcomes = tables.outcomes.c
            told = select(func.count()).where(outcomes.status != "expired")
            late = select(func.count()).where(outcomes.status == "late").group_by(outcomes.step_id)
            given_up = select(func.count()).where(outcomes.error_kind == "Poison")
            letters = connection.scalar(select(func.count()).select_from(tables.dead_letters)) or 0
            rows = (connection.scalar(told) or 0) - (connection.scalar(given_up) or 0)
            most_late = max(connection.scalars(late).all(), default=0)
            who = set(connection.scalars(select(tables.steps.c.participant).distinct()))
            known = set(connection.scalars(select(tables.queries.c.query_id)))
            gaps = self._gaps(connection)
        if rows != taken:
            raise AssertionError(f"{rows} outcomes are recorded, {taken} were taken")
        if not who <= set(PARTICIPANTS) or known != set(QUERIES) or gaps:
            raise AssertionError(f"rows of strangers: {who}, {known - set(QUERIES)}, {gaps}")
        if most_late > MAX_LATE:
            raise AssertionError(f"a step has {most_late} late outcomes")
        if letters > self.counts["refused"]:
            raise AssertionError(f"{letters} letters of {self.counts['refused']} refusals")

    def _gaps(self, connection: Any) -> list[str]:
        """Queries whose rows are not numbered without gaps."""
        seen: dict[str, list[int]] = {}
        for table in tables.metadata.tables.values():
            if "seq" in table.c and "query_id" in table.c:
                for query_id, seq in connection.execute(select(table.c.query_id, table.c.seq)):
                    seen.setdefault(query_id, []).append(seq)
        return [q for q, found in seen.items() if sorted(found) != list(range(1, len(found) + 1))]

    def close(self) -> None:
        self.engine.dispose()


def _decode(body: bytes) -> None:
    """Every decoder either gives a message or says BadMessage."""
    if len(body) > MAX_BODY_BYTES:
        return  # no decoder sees it
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = body
    inner = value[1] if isinstance(value, list) and len(value) == 3 else {}
    for part in (value, *(inner.values() if isinstance(inner, dict) else ())):
        for kind in KINDS:
            try:
                decode(kind, part, what="it")
            except BadMessage:
                continue


def run(messages: int, seed: int) -> tuple[Counter[str], float]:
    """How many messages ended in which way, and the longest that one took (seconds)."""
    assert steps.draft.name in app.tasks  # the names that validation accepts
    counts, slowest = Counter[str](), 0.0
    for batch in range(-(-messages // BATCH)):
        with tempfile.TemporaryDirectory(prefix="colm-fuzz-") as folder:
            target = Target(Path(folder))
            feed(target, min(BATCH, messages - batch * BATCH), seed * 1_000_003 + batch)
            target.check()
            counts += target.counts
            slowest = max(slowest, target.slowest)
            target.close()
        print(f"{counts.total()} of {messages}", file=sys.stderr, flush=True)
    return counts, slowest


def feed(target: Target, messages: int, seed: int) -> None:
    """Send as many messages, drawn by `seed`."""

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=messages,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(MESSAGES)
    def send(sent: Sent) -> None:
        target.take(sent)

    send()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    import logging

    logging.disable(logging.WARNING)  # one line for each message that is refused
    started = time.perf_counter()
    counts, slowest = run(given.messages, given.seed)
    seconds = time.perf_counter() - started
    print(
        f"{counts.total()} messages in {seconds:.0f} s; "
        f"the slowest computed for {slowest * 1000:.0f} ms"
    )
    for what, count in counts.most_common():
        print(f"  {count:>8}  {what}")
    print("no crash, no hang, no row that should not exist")


if __name__ == "__main__":
    main()
