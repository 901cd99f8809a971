"""Runs equal requests straight into an engine and through a site, in turn."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import psycopg2

from benchmarks.harness.report import progress
from benchmarks.harness.site import processor_seconds
from colm.models.engine_settings import EngineSettings
from colm.models.engines.base import Engine, GenerationRequest
from colm.models.messages import Answer, Participant, Sampling
from colm.models.prompts import colm
from colm.tasks import ask
from colm.workers.engine_loader import load_engine
from colm.workers.local_stack.stack import Stack
from tests.provision.postgres import plain

#: Timeout of an answer (seconds).
GIVE_UP = 1800
#: Numbers of questions; a repeated one would hit a prompt cache.
_numbers = itertools.count(1)


class Plan(NamedTuple):
    """The size of the measurement."""

    repeats: int
    requests: int
    tokens: int
    #: A slow machine gives fewer repeats, not a longer run.
    seconds: float


@dataclass(frozen=True)
class Samples:
    """Figures of each repeat; rates in completion tokens per second."""

    direct: list[float] = field(default_factory=list)
    queued: list[float] = field(default_factory=list)
    #: CPU seconds of one request: of this process, and of CoLM's processes.
    direct_computed: list[float] = field(default_factory=list)
    queued_computed: list[float] = field(default_factory=list)
    #: Log flushes of the database, per request and per second.
    flushes: list[float] = field(default_factory=list)
    flush_rates: list[float] = field(default_factory=list)


@contextmanager
def loading(engine_settings: EngineSettings) -> Iterator[Future[Engine]]:
    """An engine, loaded in a thread; closed at the end."""
    with ThreadPoolExecutor(1) as pool:
        engine = pool.submit(load_engine, engine_settings)
        try:
            yield engine
        finally:
            engine.result().close()


def measure(plan: Plan, stack: Stack, engine: Engine, client: Participant) -> Samples:
    """At least one repeat of each, after an uncounted one."""
    samples = Samples()
    warm_up = plan._replace(requests=engine.info.capacity, tokens=4)
    direct(warm_up, engine, client)
    queued(warm_up)
    until = time.monotonic() + plan.seconds
    with progress() as bar:
        for number in bar.track(range(plan.repeats), description="direct and queued, in turn"):
            runs = [
                partial(_direct, plan, engine, client, samples),
                partial(_queued, plan, stack, samples),
            ]
            # The order alternates: a drifting machine load affects both.
            for run in runs if number % 2 == 0 else reversed(runs):
                run()
            if time.monotonic() > until:
                break
    return samples


def _direct(plan: Plan, engine: Engine, client: Participant, samples: Samples) -> None:
    used = time.process_time()
    samples.direct.append(_rate(plan, *direct(plan, engine, client)))
    samples.direct_computed.append((time.process_time() - used) / plan.requests)


def _queued(plan: Plan, stack: Stack, samples: Samples) -> None:
    url = stack.settings.database_url
    used, flushed = processor_seconds(stack), flushes(url)
    tokens, seconds = queued(plan)
    made = flushes(url) - flushed
    samples.queued.append(_rate(plan, tokens, seconds))
    samples.queued_computed.append((processor_seconds(stack) - used) / plan.requests)
    samples.flushes.append(made / plan.requests)
    samples.flush_rates.append(made / seconds)


def _rate(plan: Plan, tokens: int, seconds: float) -> float:
    if tokens != plan.requests * plan.tokens:
        raise RuntimeError(f"{tokens} tokens came, {plan.requests} times {plan.tokens} were asked")
    return tokens / seconds


def question() -> str:
    return f"Question {next(_numbers)}: a train goes 120 km in 90 minutes. How fast is it in km/h?"


def direct(plan: Plan, engine: Engine, client: Participant) -> tuple[int, float]:
    """Generated tokens and seconds, with a thread for each place of the engine."""
    sampling = Sampling(max_new_tokens=plan.tokens, temperature=0, seed=0)

    def generate(text: str) -> int:
        name = text.partition(":")[0]
        request = GenerationRequest(
            request_id=name, messages=colm.draft(client, text), sampling=sampling, conversation=name
        )
        return engine.submit(request).result(timeout=GIVE_UP).completion_tokens

    with ThreadPoolExecutor(engine.info.capacity) as pool:
        started = time.perf_counter()
        tokens = sum(pool.map(generate, [question() for _ in range(plan.requests)]))
        return tokens, time.perf_counter() - started


def queued(plan: Plan) -> tuple[int, float]:
    """The same through the site, from the first ask to the last answer."""
    started = time.perf_counter()
    results = [
        ask.delay(question(), strategy="single", max_new_tokens=plan.tokens, temperature=0)
        for _ in range(plan.requests)
    ]
    answers = [Answer.model_validate(result.get(timeout=GIVE_UP)) for result in results]
    return sum(answer.tokens.completion for answer in answers), time.perf_counter() - started


def flushes(database_url: str) -> int:
    """Flushes of the server's log so far, by its statistics."""
    with (
        closing(psycopg2.connect(plain(database_url))) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT wal_sync FROM pg_stat_wal")
        row = cursor.fetchone()
    return int(row[0]) if row else 0
