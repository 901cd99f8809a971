"""A coordinator that fuzzed messages are delivered to, and checks of every row it recorded.

Each message takes the path of a delivered one: message validation, task body, `Coordinator`, a
`SqlRecord` on SQLite; a JSON body also passes the decoder of every message type.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import hypothesis
from celery.exceptions import Ignore, Reject
from sqlalchemy import func, select

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
from colm.tasks.celery_app import app
from colm.workers.consumer.message_validation import MAX_BODY_BYTES, validate_message
from colm.workers.coordinator.coordinator import Coordinator
from tests.security.fuzz_messages import CLIENTS, MESSAGES, PARTICIPANTS, QUERIES, Sent

#: Messages between two jumps of the clock past a deadline.
STAGE = 400
#: Limit of thread CPU time for one message (seconds).
MOST_SECONDS = 5.0
KINDS = (Submission, Attempt, Step, AskRequest, Answer)
DEADLINES = Deadlines(draft=80_000, synthesize=80_000, refine=80_000, query=600_000)


class NullNotifier:
    """Discards the coordinator's notifications."""

    def refused(self, query_id: str, reason: str) -> None: ...

    def ended(self, answer: Answer) -> None: ...


@dataclass
class Target:
    """A coordinator with 40 open queries and its own SQLite database."""

    folder: Path
    counts: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    #: Offset of the coordinator's clock, so that deadlines pass.
    ahead: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        assert steps.__name__ in app.conf.include  # registered: their names pass validation
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
            announce=NullNotifier(),
            clock=lambda: datetime.now(UTC) + self.ahead,
        )
        dependencies.install_coordinator(self.coordinator, self.record)
        for query_id in QUERIES:
            self.coordinator.accept(query_id, "Why?", {"rounds": 1})

    def take(self, sent: Sent) -> None:
        """Deliver one message.

        Raises AssertionError over MOST_SECONDS, and every exception that a worker does not handle.
        """
        started = time.thread_time()
        self.counts[self._deliver(sent)] += 1
        cpu_s = time.thread_time() - started
        self.slowest = max(self.slowest, cpu_s)
        if self.counts.total() % STAGE == 0:
            self.ahead += timedelta(seconds=DEADLINES.draft)
            self.coordinator.process_due()
        if cpu_s > MOST_SECONDS:
            raise AssertionError(f"a message took {cpu_s:.1f} s of CPU time")

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
            receipt = task.run(*args, **fields)
        except Reject:
            return "refused"
        except Ignore:
            return "refused, not recorded"
        except TypeError:
            if "self" in fields:  # a second `self` argument: Celery rejects the message
                return "refused"
            raise
        finally:
            task.pop_request()
        self._check_sender(sent, receipt)
        return f"{sent.headers['task']} {receipt['receipt']}"

    def _check_sender(self, sent: Sent, receipt: dict[str, str]) -> None:
        """A recorded submission belongs to a step of its sender."""
        sender = sent.routing_key.split(".", 1)[1]
        if receipt["step"].rsplit(".", 2)[1] != sender or sender not in PARTICIPANTS:
            raise AssertionError(f"{sender} submitted for {receipt['step']}")

    def check(self) -> None:
        """Raises AssertionError for a row that no accepted message explains."""
        accepted = self.counts["colm.submit recorded"] + self.counts["colm.submit late"]
        with self.engine.connect() as connection:
            outcomes = tables.outcomes.c
            reported = select(func.count()).where(outcomes.status != "expired")
            late = select(func.count()).where(outcomes.status == "late").group_by(outcomes.step_id)
            given_up = select(func.count()).where(outcomes.error_kind == "Poison")
            letters = connection.scalar(select(func.count()).select_from(tables.dead_letters)) or 0
            rows = (connection.scalar(reported) or 0) - (connection.scalar(given_up) or 0)
            most_late = max(connection.scalars(late).all(), default=0)
            participants = set(connection.scalars(select(tables.steps.c.participant).distinct()))
            queries = set(connection.scalars(select(tables.queries.c.query_id)))
            gaps = self._gaps(connection)
        if rows != accepted:
            raise AssertionError(f"{rows} outcomes are recorded, {accepted} were accepted")
        if not participants <= set(PARTICIPANTS) or queries != set(QUERIES) or gaps:
            unexpected = f"{participants}, {queries - set(QUERIES)}, {gaps}"
            raise AssertionError(f"rows of unknown participants or queries: {unexpected}")
        if most_late > MAX_LATE:
            raise AssertionError(f"a step has {most_late} late outcomes")
        if letters > self.counts["refused"]:
            raise AssertionError(f"{letters} dead letters of {self.counts['refused']} refusals")

    def _gaps(self, connection: Any) -> list[str]:
        """Queries whose sequence numbers have gaps."""
        numbers: dict[str, list[int]] = {}
        for table in tables.metadata.tables.values():
            if "seq" in table.c and "query_id" in table.c:
                for query_id, seq in connection.execute(select(table.c.query_id, table.c.seq)):
                    numbers.setdefault(query_id, []).append(seq)
        return [q for q, seqs in numbers.items() if sorted(seqs) != list(range(1, len(seqs) + 1))]

    def close(self) -> None:
        self.engine.dispose()


def _decode(body: bytes) -> None:
    """Every decoder returns a message or raises BadMessage."""
    if len(body) > MAX_BODY_BYTES:
        return  # message validation rejects it first
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


def feed(target: Target, messages: int, seed: int) -> None:
    """Deliver `messages` messages that hypothesis draws with `seed`."""

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
