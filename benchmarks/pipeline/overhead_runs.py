"""Asks one by one and in bursts, in turn with the floor."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rich.progress import Progress

from benchmarks.harness.report import progress
from benchmarks.harness.site import processor_seconds
from benchmarks.pipeline.floor import Floor, Spent, Work
from colm.db.connection import connect
from colm.db.reads import history
from colm.models.messages import Answer, Step
from colm.tasks import ask
from colm.workers.local_stack.stack import Stack

QUESTION = "A bat and a ball cost 1.10 together, the bat 1 more than the ball. What costs the ball?"
#: Uncounted asks, which open connections and fill caches.
WARM_UP = 10
#: Timeout of an answer (seconds).
GIVE_UP = 120


class Plan(NamedTuple):
    """The size of the measurement."""

    asks: int
    bursts: int
    burst_size: int
    #: A slow machine gives fewer samples in each phase, not a longer run.
    phase_seconds: float


@dataclass(frozen=True)
class Samples:
    """Seconds; `rates` in queries per second."""

    asks: list[float] = field(default_factory=list)
    recorded: list[float] = field(default_factory=list)
    floor: list[Spent] = field(default_factory=list)
    critical: list[Spent] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    #: CPU seconds of the site's processes for one query of a burst.
    computed: list[float] = field(default_factory=list)


def ask_once() -> Answer:
    """Asks and waits. Raises for a failed or degraded query."""
    result = ask.delay(QUESTION, strategy="colm", rounds=1)
    answer = Answer.model_validate(result.get(timeout=GIVE_UP))
    if answer.degraded:
        raise RuntimeError(f"nothing is measured on a degraded site: {'; '.join(answer.notes)}")
    return answer


def count_work(database_url: str, query_id: str) -> tuple[Work, Work]:
    """The work of a recorded query, and of its longest chain."""
    engine = connect(database_url, pool_size=1)
    try:
        life = history.query_history(engine, query_id)
    finally:
        engine.dispose()
    if life is None:
        raise LookupError(f"no query {query_id} is in the record")
    return work_of([entry.what for entry in life.entries if isinstance(entry.what, Step)])


def work_of(steps: Sequence[Step]) -> tuple[Work, Work]:
    """The work of these steps, and of their longest chain.

    One hop each for the ask, every step and every submission; one commit each for the ask and every
    submission. (Dispatches are committed in groups, off the query's path.) Steps of one act in one
    round run concurrently: the longest chain has one of them.
    """
    stages = {(step.round, step.act) for step in steps}
    whole, critical = (Work(hops=1 + 2 * n, commits=1 + n) for n in (len(steps), len(stages)))
    return whole, critical


def measure(plan: Plan, stack: Stack, floor: Floor, whole: Work, critical: Work) -> Samples:
    """At least one ask and one burst; more as far as plan and time allow."""
    samples = Samples()
    for _ in range(WARM_UP):
        ask_once()
        floor.spend(critical)
    with progress() as bar:
        for _ in _within(plan.phase_seconds, plan.asks, bar, "asking one by one"):
            started = time.perf_counter()
            answer = ask_once()
            samples.asks.append(time.perf_counter() - started)
            samples.recorded.append(answer.seconds)
            samples.floor.append(floor.spend(whole))
            samples.critical.append(floor.spend(critical))
        for _ in _within(plan.phase_seconds, plan.bursts, bar, "asking in bursts"):
            computed = processor_seconds(stack)
            samples.rates.append(_burst(plan.burst_size))
            samples.computed.append((processor_seconds(stack) - computed) / plan.burst_size)
    return samples


def _within(seconds: float, times: int, bar: Progress, description: str) -> Iterator[int]:
    until = time.monotonic() + seconds
    for number in bar.track(range(times), description=description):
        if number and time.monotonic() > until:
            return
        yield number


def _burst(size: int) -> float:
    """Queries per second, from the first of `size` asks to the last answer."""
    started = time.perf_counter()
    results = [ask.delay(QUESTION, strategy="colm", rounds=1) for _ in range(size)]
    for result in results:
        result.get(timeout=GIVE_UP)
    return size / (time.perf_counter() - started)
