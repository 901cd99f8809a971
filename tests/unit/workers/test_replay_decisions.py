"""A query decided again from its record comes out as it is recorded, or it is told."""

from __future__ import annotations

import heapq
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from colm.db.connection import connect
from colm.db.reads.history import History, HistoryEntry, StepOutcome, query_history
from colm.db.record.store import SqlRecord
from colm.db.schema import tables
from colm.models.cancellation import Cancel
from colm.models.messages import Answer, Attempt, Completion, Query, Step, Submission
from colm.models.redelivery import AttemptLimits
from colm.models.roster import Roster
from colm.models.strategies.base import Decision
from colm.workers.audit.replay_decisions import replay_decisions
from colm.workers.coordinator.coordinator import Coordinator
from tests.unit.examples import NOW, SERVER, a_client, failed, key_of, submitted
from tests.unit.models.test_strategy_properties import queries

Reply = tuple[str | Completion, float]


@dataclass
class Lived:
    """A query that lives through a real coordinator on SQLite, with a clock set by hand."""

    engine: Engine
    query: Query
    reply: Callable[[Step], Reply | None]
    now: datetime = NOW
    turn: Iterator[int] = field(default_factory=count)
    coming: list[tuple[datetime, int, Step, str | Completion]] = field(default_factory=list)

    def __post_init__(self) -> None:
        clients = {client.name: client for client in self.query.clients}
        self.record = SqlRecord(self.engine)
        self.coordinator = Coordinator(
            record=self.record,
            roster=Roster(
                clients=clients, servers={"main": SERVER}, deadlines=self.query.deadlines
            ),
            send=self._send,
            stop=lambda _to, _stop: None,
            mark=lambda _ids: None,
            announce=self,
            clock=lambda: self.now,
            limits=AttemptLimits(),
        )
        self.ended_ = False

    def refused(self, query_id: str, reason: str) -> None:
        raise AssertionError(f"{query_id}: {reason}")

    def ended(self, answer: Answer) -> None:  # noqa: ARG002  # the announcer's protocol
        self.ended_ = True

    def _send(self, step: Step) -> None:
        reply = self.reply(step)
        if reply is not None:
            text, after = reply
            at = self.now + timedelta(seconds=after)
            heapq.heappush(self.coming, (at, next(self.turn), step, text))

    def live(self) -> History:
        """To its end, and a little further: for what comes late."""
        options = {**self.query.options, "strategy": self.query.strategy, "seed": self.query.seed}
        self.coordinator.accept(self.query.query_id, self.query.question, options)
        while not self.ended_ or self.coming:
            wake = self._wake_at() if not self.ended_ else None
            if self.coming and (wake is None or self.coming[0][0] < wake):
                at, _, step, text = heapq.heappop(self.coming)
                self.now = max(self.now, at)
                self.coordinator.submit(_submission(step, text))
            else:
                assert wake is not None
                self.now = max(self.now, wake)
                self.coordinator.process_due()
        return self.history()

    def history(self) -> History:
        found = query_history(self.engine, self.query.query_id)
        assert found is not None
        return found

    def _wake_at(self) -> datetime:
        with self.engine.connect() as connection:
            found: datetime | None = connection.scalar(select(tables.progress.c.wake_at))
        assert found is not None
        return found


def _submission(step: Step, said: str | Completion) -> Submission:
    if isinstance(said, Completion):
        return Submission(**key_of(step), worker="test", completion=said)
    return failed(step) if said == "fail" else submitted(step, said)


TEXTS = ["it scatters", "because \x00 of it", "ada, bo", "", "fail"]
DELAYS = [0.0, 0.5, 3.0, 9.0, 10.0, 19.5, 20.0, 35.0, 60.0]


@settings(
    max_examples=25,
    phases=[Phase.generate],  # each example is a database
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(query=queries(), data=st.data())
def test_every_simulated_life_is_decided_again_as_it_was(
    sqlite_template: Path, query: Query, data: st.DataObject
) -> None:
    def reply(_step: Step) -> Reply | None:
        if data.draw(st.integers(0, 9)) == 0:
            return None
        return data.draw(st.sampled_from(TEXTS)), data.draw(st.sampled_from(DELAYS))

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "record.db"
        shutil.copyfile(sqlite_template, path)
        engine = connect(f"sqlite:///{path}")
        history = Lived(engine, query, reply).live()
        engine.dispose()
    found = replay_decisions(history)
    assert found.difference is None
    assert found.ended_early is None
    assert found.moves >= 2


def a_life(sqlite_url: str, **changes: object) -> Lived:
    query = Query.model_validate(
        {
            "query_id": "query-0001", "question": "Why?", "strategy": "colm",
            "options": {"rounds": 1}, "clients": [a_client("ada"), a_client("bo")],
            "server": SERVER, "deadlines": {}, "seed": 7, "asked_at": NOW, **changes,
        }
    )  # fmt: skip
    return Lived(connect(sqlite_url), query, lambda step: (f"{step.act} of {step.participant}", 1))


def forged(history: History, change: Callable[[HistoryEntry], HistoryEntry | None]) -> History:
    entries = tuple(e for e in map(change, history.entries) if e is not None)
    return replace(history, entries=entries)


def test_another_completion_than_the_recorded_one_gives_another_decision(sqlite_url: str) -> None:
    history = a_life(sqlite_url).live()

    def change(entry: HistoryEntry) -> HistoryEntry:
        match entry.what:
            case StepOutcome(step_id=step_id, outcome=outcome) if ".draft.ada" in step_id:
                assert outcome.completion is not None
                said = outcome.completion.model_copy(update={"text": "something else"})
                told = StepOutcome(step_id=step_id, outcome=replace(outcome, completion=said))
                return replace(entry, what=told)
        return entry

    assert replay_decisions(history).difference is None
    difference = replay_decisions(forged(history, change)).difference
    assert difference is not None
    assert difference.recorded == difference.decided == "step 1.synthesize.main.0"


def test_a_decision_that_is_missing_or_added_is_found(sqlite_url: str) -> None:
    history = a_life(sqlite_url).live()
    panels = [e for e in history.entries if isinstance(e.what, Decision)]
    without = forged(history, lambda e: None if e is panels[0] else e)
    assert replay_decisions(without).difference is not None
    at = history.entries.index(panels[0])
    twice = replace(history, entries=(*history.entries[:at], panels[0], *history.entries[at:]))
    assert replay_decisions(twice).difference is not None
    silent = forged(history, lambda e: None if isinstance(e.what, StepOutcome) else e)
    assert replay_decisions(silent).difference is not None


def test_a_cancelled_query_is_decided_again_until_then(sqlite_url: str) -> None:
    life = a_life(sqlite_url)
    life.reply = lambda step: None if step.act == "refine" else ("so", 1.0)
    life.coordinator.accept("query-0001", "Why?", {"rounds": 1, "seed": 7})
    while life.coming:
        at, _, step, text = heapq.heappop(life.coming)
        life.now = at
        life.coordinator.submit(_submission(step, text))
    life.now += timedelta(seconds=1)
    life.coordinator.cancel(Cancel(query_id="query-0001", reason="enough"))
    found = replay_decisions(life.history())
    assert found.difference is None
    assert found.ended_early == "it was cancelled"
    assert found.moves >= 4


def test_a_step_given_up_for_killing_its_workers_is_taken_as_it_is(sqlite_url: str) -> None:
    life = a_life(sqlite_url, strategy="single", options={})
    life.reply = lambda _step: None
    life.coordinator.accept("query-0001", "Why?", {"strategy": "single", "seed": 7})
    step = next(e.what for e in life.history().entries if isinstance(e.what, Step))
    for n in range(8):
        life.now += timedelta(seconds=1)
        fields = {**key_of(step), "attempt_id": f"attempt-{n}", "worker": "w"}
        told = Attempt.model_validate(fields | {"kind": ("returned", "alone")[n % 2]})
        life.coordinator.attempt(told)
    assert life.ended_
    found = replay_decisions(life.history())
    assert (found.difference, found.ended_early) == (None, None)
