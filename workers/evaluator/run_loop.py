"""Working on one run: so many queries in flight, every end graded and committed on its own."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Engine

from colm.db.reads import answers
from colm.db.reads.answers import recorded_of
from colm.db.reads.completion_listener import wait_for_any
from colm.db.runs.units import Unit, UnitStatus, add_unit
from colm.evaluation.grading import Grade
from colm.models.backoff import Backoff
from colm.models.errors import InvalidAsk, TransientError
from colm.models.messages import Answer
from colm.tasks.config.run_config import RunConfig
from colm.workers.evaluator.grading import Asks, GradedAnswer, Grader, grade_answer
from colm.workers.evaluator.plan import Planned, options_of

logger = logging.getLogger(__name__)

#: Whether to ask more: "ask"; to let what is in flight end: "drain"; or to stop at once: "stop".
Orders = Literal["ask", "drain", "stop"]

#: The longest wait for an end before orders are looked at again (seconds).
LOOK_EVERY = 0.5
#: A query that nobody has recorded for so long is asked again (seconds).
ASK_AGAIN_AFTER = 60.0
#: Texts graded at once: graders that run programs wait for them.
GRADING_THREADS = 4
#: Pauses while the broker or the database is away (seconds).
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
#: How much of a reason and of an extracted answer is kept (characters).
KEPT = 4_000


@dataclass(kw_only=True)
class RunLoop:
    """One evaluator's work on one run."""

    engine: Engine
    config: RunConfig
    left: Iterator[Planned]
    ask: Asks
    grade: Grader
    #: What to do now; called at least every LOOK_EVERY seconds.
    orders: Callable[[], Orders]
    clock: Callable[[], datetime]
    in_flight: dict[str, Planned] = field(default_factory=dict)
    _asked_at: dict[str, float] = field(default_factory=dict)
    _grading: dict[Future[None], Planned] = field(default_factory=dict)

    def run(self) -> bool:
        """Work until nothing is left (True) or orders say to stop (False)."""
        backoff = Backoff(first=FIRST_PAUSE, longest=LONGEST_PAUSE)
        with ThreadPoolExecutor(GRADING_THREADS) as graders:
            while True:
                try:
                    if (finished := self._step(graders)) is not None:
                        return finished
                    backoff.reset()
                except TransientError as error:
                    backoff.wait(error)

    def _step(self, graders: ThreadPoolExecutor) -> bool | None:
        orders = self.orders()
        if orders == "stop":
            return False
        self._collect()
        more = self._fill() if orders == "ask" else True
        if not self.in_flight and not self._grading:
            return None if more and orders == "ask" else not more
        self._ask_again()
        if not self.in_flight:
            time.sleep(0.01)
            return None
        for query_id in wait_for_any(self.engine, self.in_flight, LOOK_EVERY):
            planned = self._complete(query_id)
            self._grading[graders.submit(self._finish, planned)] = planned
        return None

    def _fill(self) -> bool:
        """Ask until enough is in flight; False when nothing is left to ask."""
        while len(self.in_flight) + len(self._grading) < self.config.concurrency + GRADING_THREADS:
            if len(self.in_flight) >= self.config.concurrency:
                return True
            planned = next(self.left, None)
            if planned is None:
                return False
            self.in_flight[planned.query_id] = planned  # before the ask, which may fail for now
            self._ask(planned)
        return True

    def _ask(self, planned: Planned) -> None:
        """Ask, unless the record knows the query already; an unusable one is a failed unit."""
        self._asked_at[planned.query_id] = float("-inf")
        if not recorded_of(self.engine, [planned.query_id]):
            try:
                self.ask(
                    planned.example.question, planned.query_id, options_of(self.config, planned)
                )
            except InvalidAsk as error:
                self._complete(planned.query_id)
                self._commit(planned, "failed", Grade(status="error", reason=str(error)))
                return
        self._asked_at[planned.query_id] = time.monotonic()

    def _complete(self, query_id: str) -> Planned:
        self._asked_at.pop(query_id, None)
        return self.in_flight.pop(query_id)

    def _ask_again(self) -> None:
        """What an away broker kept from being asked, or what nobody has recorded for long."""
        before = time.monotonic() - ASK_AGAIN_AFTER
        for query_id, asked_at in list(self._asked_at.items()):
            if asked_at < before:
                self._ask(self.in_flight[query_id])

    def _collect(self) -> None:
        """Raise what a grading thread could not commit, after putting its unit back in flight."""
        for future in [future for future in self._grading if future.done()]:
            planned = self._grading.pop(future)
            try:
                future.result()
            except TransientError:
                self.in_flight[planned.query_id] = planned
                self._asked_at[planned.query_id] = time.monotonic()
                raise

    def _finish(self, planned: Planned) -> None:
        """Grade and commit one unit; whatever goes wrong with its grading is its own."""
        standing = answers.answer_of(self.engine, planned.query_id)
        answer = standing.answer
        if answer is None or answer.answer is None:
            reason = standing.reason or "there is no answer"
            self._commit(planned, "failed", Grade(status="error", reason=reason), answer)
            return
        graded = self._graded(planned, answer)
        self._commit(planned, graded.answer.status, graded.answer, answer, graded.clients)

    def _graded(self, planned: Planned, answer: Answer) -> GradedAnswer:
        try:
            clients = self.config.grader.kind != "judge"  # who would cost as much as the query
            return grade_answer(self.grade, planned, answer, clients=clients)
        except TransientError:
            raise
        except Exception as error:  # a grader's fault on one example must not end the run
            logger.exception("unit %s cannot be graded", planned.key)
            reason = f"the grader failed: {error!r}"
            return GradedAnswer(answer=Grade(status="error", reason=reason), clients={})

    def _commit(
        self,
        planned: Planned,
        status: UnitStatus,
        graded: Grade,
        answer: Answer | None = None,
        clients: dict[str, Any] | None = None,
    ) -> None:
        spent = answer.ledger if answer else ()
        unit = Unit(
            entry=planned.entry.name,
            example=planned.example.id,
            seed=planned.seed,
            query_id=planned.query_id,
            at=self.clock(),
            status=status,
            extracted=graded.extracted[:KEPT] if graded.extracted is not None else None,
            reason=graded.reason[:KEPT] if graded.reason is not None else None,
            clients=clients or {},
            detail=answer.detail if answer else {},
            prompt_tokens=answer.tokens.prompt if answer else 0,
            completion_tokens=answer.tokens.completion if answer else 0,
            ledger=[line.model_dump(mode="json") for line in spent],
            seconds=answer.seconds if answer else 0.0,
        )
        add_unit(self.engine, planned.run, unit)
