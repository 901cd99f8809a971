"""Asks a site one by one and in bursts, in turn with the floor under it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rich.progress import Progress

from benchmarks.floor import Floor, Spent, Work
from benchmarks.reporting import progress
from benchmarks.rig import processor_seconds
from colm.db.connection import connect
from colm.db.reads import history
from colm.models.messages import Answer, Step
from colm.tasks import ask
from colm.workers.local_stack.stack import Stack

QUESTION = "A bat and a ball cost 1.10 together, the bat 1 more than the ball. What costs the ball?"
#: Asks before the first that counts: connections open, caches fill.
WARM_UP = 10
#: Far above what an answer takes where anything works (seconds).
GIVE_UP = 120


class Plan(NamedTuple):
    """How much is measured."""

    asks: int
    bursts: int
    burst_size: int
    #: A slow machine gives fewer samples in each phase, not a longer run.
    phase_seconds: float


@dataclass(frozen=True)
class Samples:
    """In seconds, but for the rates: queries per second."""

    asked: list[float] = field(default_factory=list)
    recorded: list[float] = field(default_factory=list)
    floor: list[Spent] = field(default_factory=list)
    critical: list[Spent] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    #: By the site's own processes, for one query of a burst.
    computed: list[float] = field(default_factory=list)


def ask_once() -> Answer:
    """Ask and wait. Raises where the query fails, or goes on without a participant."""
    result = ask.delay(QUESTION, strategy="colm", rounds=1)
    answer = Answer.model_validate(result.get(timeout=GIVE_UP))
    if answer.degraded:
        raise RuntimeError(f"nothing is measured on a degraded site: {'; '.join(answer.notes)}")
    return answer


def count_work(database_url: str, query_id: str) -> tuple[Work, Work]:
    """What a recorded query needed in all, and the longest chain of it that had to wait."""
    engine = connect(database_url, pool_size=1)
    try:
        life = history.query_history(engine, query_id)
    finally:
        engine.dispose()
    if life is None:
        raise LookupError(f"no query {query_id} is in the record")
    return work_of([entry.what for entry in life.entries if isinstance(entry.what, Step)])


def work_of(steps: Sequence[Step]) -> tuple[Work, Work]:
    """All work of these steps, and the longest chain of it.

    A hop each for the ask, every step and every submission; a commit each for the ask and every
    submission, which is recorded before anything follows from it. (What was dispatched is committed
    in groups, beside the query's way.) Steps of one act in one round go on at the same time, so the
    longest chain has one of them.
    """
    stages = {(step.round, step.act) for step in steps}
    whole, critical = (Work(hops=1 + 2 * n, commits=1 + n) for n in (len(steps), len(stages)))
    return whole, critical


def measure(plan: Plan, stack: Stack, floor: Floor, whole: Work, critical: Work) -> Samples:
    """At least one ask and one burst, then as many as the plan has and its time allows."""
    found = Samples()
    for _ in range(WARM_UP):
        ask_once()
        floor.spend(critical)
    with progress() as bar:
        for _ in _within(plan.phase_seconds, plan.asks, bar, "asking one by one"):
            started = time.perf_counter()
            answer = ask_once()
            found.asked.append(time.perf_counter() - started)
            found.recorded.append(answer.seconds)
            found.floor.append(floor.spend(whole))
            found.critical.append(floor.spend(critical))
        for _ in _within(plan.phase_seconds, plan.bursts, bar, "asking in bursts"):
            computed = processor_seconds(stack)
            found.rates.append(_burst(plan.burst_size))
            found.computed.append((processor_seconds(stack) - computed) / plan.burst_size)
    return found


def _within(seconds: float, times: int, bar: Progress, description: str) -> Iterator[int]:
    until = time.monotonic() + seconds
    for number in bar.track(range(times), description=description):
        if number and time.monotonic() > until:
            return
        yield number


def _burst(size: int) -> float:
    """Queries per second, from the first of `size` asks to the last answer."""
    started = time.perf_counter()
    asked = [ask.delay(QUESTION, strategy="colm", rounds=1) for _ in range(size)]
    for result in asked:
        result.get(timeout=GIVE_UP)
    return size / (time.perf_counter() - started)
