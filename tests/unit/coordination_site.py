"""A coordinator with everything around it in memory, to be driven by a test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from colm.models.cancellation import CancelSteps
from colm.models.messages import Answer, Step
from colm.models.redelivery import AttemptLimits
from colm.models.roster import Roster
from colm.tasks.interfaces import QueryStore
from colm.workers.coordinator.coordinator import Coordinator
from tests.unit.examples import DEADLINES, NOW, QUESTION, SERVER, a_client, submitted
from tests.unit.memory_record import MemoryRecord

ID = "query-0001"


@dataclass
class Site:
    """A coordinator with a record in memory, a clock set by hand and a broker that keeps notes."""

    record: MemoryRecord = field(default_factory=MemoryRecord)
    now: datetime = NOW
    sent: list[Step] = field(default_factory=list)
    #: Raised by the publish of a step whose participant is named.
    broken: dict[str, Exception] = field(default_factory=dict)
    marking: bool = True
    stopped: list[tuple[str, CancelSteps]] = field(default_factory=list)
    refusals: list[tuple[str, str]] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    def __post_init__(self) -> None:
        record: QueryStore = self.record
        self.coordinator = Coordinator(
            record=record,
            roster=Roster(
                clients={name: a_client(name) for name in ("ada", "bo")},
                servers={"main": SERVER},
                deadlines=DEADLINES,
                defaults={"colm": {"rounds": 1}},
            ),
            send=self._send,
            stop=self._stop,
            mark=self._mark,
            announce=self,
            clock=lambda: self.now,
            limits=AttemptLimits(),
        )

    def _send(self, step: Step) -> None:
        if step.participant in self.broken:
            raise self.broken[step.participant]
        self.sent.append(step)
        self.record.log.append(f"send {step.act} {step.participant}")

    def _stop(self, participant: str, stop: CancelSteps) -> None:
        if participant in self.broken:
            raise self.broken[participant]
        self.stopped.append((participant, stop))

    def _mark(self, step_ids: Sequence[str]) -> None:
        self.record.log.append(f"mark {len(step_ids)}")
        if self.marking:
            self.record.mark_dispatched(step_ids, self.now)

    def refused(self, query_id: str, reason: str) -> None:
        self.refusals.append((query_id, reason))

    def ended(self, answer: Answer) -> None:
        self.record.log.append("announce")
        self.answers.append(answer)

    def ask(self, **options: Any) -> None:
        self.coordinator.accept(ID, QUESTION, options)

    def answer_all(self) -> None:
        """Submit a completion for every step that was sent, until nothing new is."""
        for step in self.sent:  # grows meanwhile
            self.coordinator.submit(submitted(step, f"{step.act} of {step.participant}"))

    def who(self) -> list[str]:
        return [f"{step.act} {step.participant}" for step in self.sent]
