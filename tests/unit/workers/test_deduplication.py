"""Equal steps of a run are sent once; each query still gets its outcome, in its own commit."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from colm.db.connection import connect
from colm.db.reads.history import StepOutcome
from colm.db.record.store import SqlRecord
from colm.db.runs import shared_steps
from colm.db.runs.progress import progress_of
from colm.models.errors import Overloaded, TooLarge
from colm.models.messages import Step, Submission
from colm.models.receipt import Receipt
from colm.models.strategies.base import Ask, Outcome
from colm.workers.coordinator.deduplication import StepDeduplicator
from tests.unit.db_examples import (
    NOW,
    a_query,
    a_step,
    asking,
    completed,
    failed,
    finishing,
    history,
)


@dataclass
class Site:
    """A record, what was sent, and a coordinator that only records what comes."""

    engine: Engine
    sent: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.record = SqlRecord(self.engine)
        self.adapters: dict[str, str] = {}
        self.sharing = StepDeduplicator(
            self.engine, lambda step: self.sent.append(step.step_id), self.adapters.get
        )

    def ask(self, query_id: str, *, run: str | None = "night", **changes: Any) -> Step:
        step = a_step(query_id).model_copy(update={"lane": "overnight", **changes})
        with self.record.begin(a_query(query_id, run=run, lane="overnight")) as life:
            life.apply(Ask(steps=(step,), wake_at=NOW), NOW)
        self.sharing.send(step)
        return step

    def end(self, step: Step, outcome: Outcome) -> None:
        with self.record.open(step.query_id) as life:
            life.add_outcome(step, outcome)

    def submit(self, submission: Submission) -> Receipt:
        outcome = Outcome(
            status="completed" if submission.completion else "failed",
            at=NOW,
            worker=submission.worker,
            completion=submission.completion,
            error=submission.error,
        )
        with self.record.open(submission.query_id) as life:
            return life.add_outcome(submission, outcome)

    def outcomes(self, step: Step) -> list[Outcome]:
        entries = [entry.what for entry in history(self.engine, step.query_id).entries]
        return [what.outcome for what in entries if isinstance(what, StepOutcome)]


class SharingContract:
    """Heirs give the `url` of an empty, migrated database."""

    @pytest.fixture
    def site(self, url: str) -> Iterator[Site]:
        engine = connect(url, pool_size=16)
        yield Site(engine)
        engine.dispose()

    def test_equal_steps_of_a_run_are_sent_once(self, site: Site) -> None:
        first = site.ask("query-0001")
        second = site.ask("query-0002")
        site.ask("query-0003", run="day")
        assert site.sent == [first.step_id, "query-0003.1.draft.alice.0"]
        for _ in range(2):
            site.sharing.send(first)
            site.sharing.send(second)
        assert second.step_id not in site.sent

    def test_steps_that_differ_and_steps_without_a_run_are_sent_each(self, site: Site) -> None:
        site.ask("query-0001")
        site.ask("query-0002", participant="bob")
        site.ask("query-0003", run=None)
        site.ask("query-0004", run=None)
        assert len(site.sent) == 4

    def test_steps_for_different_versions_of_an_adapter_are_sent_each(self, site: Site) -> None:
        for number, adapter in enumerate(("a" * 64, "a" * 64, "b" * 64), start=1):
            site.adapters["alice"] = adapter
            site.ask(f"query-{number:04d}")
        assert site.sent == ["query-0001.1.draft.alice.0", "query-0003.1.draft.alice.0"]

    def test_what_waits_gets_the_outcome_as_its_own(self, site: Site) -> None:
        first, second = site.ask("query-0001"), site.ask("query-0002")
        assert site.sharing.settle(site.submit) == 0
        site.end(first, completed("Because."))
        assert site.sharing.settle(site.submit) == 1
        assert site.sharing.settle(site.submit) == 0
        (mine,) = site.outcomes(second)
        (its,) = site.outcomes(first)
        assert mine.completion == its.completion
        assert mine.worker == f"shared with {first.step_id}"
        assert site.sent == [first.step_id]

    def test_what_comes_after_the_outcome_need_not_wait(self, site: Site) -> None:
        first = site.ask("query-0001")
        site.end(first, completed())
        second = site.ask("query-0002")
        assert site.sent == [first.step_id]
        site.sharing.settle(site.submit)
        assert [outcome.status for outcome in site.outcomes(second)] == ["completed"]

    def test_a_failure_is_shared_too(self, site: Site) -> None:
        first, second = site.ask("query-0001"), site.ask("query-0002")
        site.end(first, failed("no memory"))
        site.sharing.settle(site.submit)
        (mine,) = site.outcomes(second)
        assert (mine.status, mine.reason) == ("failed", "engine_error: no memory")

    def test_a_step_that_its_query_gave_up_is_sent_for_those_who_wait(self, site: Site) -> None:
        first, second = site.ask("query-0001"), site.ask("query-0002")
        with site.record.open(first.query_id) as life:
            life.apply(asking(a_step("query-0001", "bob"), close=first), NOW)
        site.sharing.settle(site.submit)
        site.sharing.settle(site.submit)
        assert site.sent == [first.step_id, second.step_id]
        assert site.outcomes(second) == []

    def test_a_step_left_open_by_a_query_that_ended_is_sent_for_those_who_wait(
        self, site: Site
    ) -> None:
        first, second = site.ask("query-0001"), site.ask("query-0002")
        with site.record.open(first.query_id) as life:
            life.apply(finishing("query-0001"), NOW)
        site.sharing.settle(site.submit)
        assert site.sent == [first.step_id, second.step_id]

    def test_what_cannot_be_sent_for_those_who_wait_is_tried_again_or_fails_and_holds_up_no_other(
        self, site: Site
    ) -> None:
        steps = [
            site.ask(f"query-000{n}", participant="alice" if n < 3 else "bob") for n in range(1, 5)
        ]
        first, second, third, fourth = steps
        for owner in (first, third):
            with site.record.open(owner.query_id) as life:
                life.apply(finishing(owner.query_id), NOW)
        errors = {second.step_id: [Overloaded("full"), TooLarge("message size")]}

        def send(step: Step) -> None:
            if waiting := errors.get(step.step_id):
                raise waiting.pop(0)
            site.sent.append(step.step_id)

        site.sharing._send = send
        for _ in range(3):
            site.sharing.settle(site.submit)
        assert site.sent == [first.step_id, third.step_id, fourth.step_id]
        assert [o.reason for o in site.outcomes(second)] == ["Unsent: TooLarge: message size"]

    def test_of_equal_steps_asked_at_once_one_is_sent(self, site: Site) -> None:
        def ask(number: int) -> None:
            site.ask(f"query-{number:04d}")

        threads = [threading.Thread(target=ask, args=[n]) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(site.sent) == 1
        owners = {
            shared_steps.owner_of(site.engine, a_step(f"query-{n:04d}").model_copy())
            for n in range(8)
        }
        assert owners == set(site.sent)

    def test_the_saving_is_told(self, site: Site) -> None:
        first, second = site.ask("query-0001"), site.ask("query-0002")
        site.end(first, completed())
        site.sharing.settle(site.submit)
        told = progress_of(site.engine, "night", NOW + timedelta(minutes=1)).sharing
        assert (told.steps_asked, told.steps_generated) == (2, 1)
        completion = site.outcomes(second)[0].completion
        assert completion is not None
        assert told.prompt_tokens_saved == completion.prompt_tokens == 11
        assert told.completion_tokens_saved == completion.completion_tokens == 7


class TestSharingOnSqlite(SharingContract):
    @pytest.fixture
    def url(self, sqlite_url: str) -> str:
        return sqlite_url


def test_a_step_of_a_caller_who_waits_costs_no_look_at_the_database() -> None:
    sent: list[str] = []
    nowhere: Any = None
    StepDeduplicator(nowhere, lambda step: sent.append(step.step_id)).send(a_step())
    assert sent == ["query-0001.1.draft.alice.0"]
