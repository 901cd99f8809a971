"""A participant's worker and the steps that may have killed another: told, or run alone."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from colm.models.messages import Attempt, Role, Step, Submission
from colm.workers.participant.exclusive import ExclusiveGate
from colm.workers.participant.generator import EngineGenerator
from tests.unit.examples import NOW, a_completion, a_step, seconds
from tests.unit.workers.test_participant import HandEngine, QuickEngine

SUSPECT = a_step().model_copy(update={"alone": True})


class Telling:
    """Notes what is told, and how many requests the engine had by then."""

    def __init__(self, engine: HandEngine) -> None:
        self.engine = engine
        self.told: list[tuple[Attempt, int]] = []

    def __call__(self, attempt: Attempt, role: Role) -> None:
        assert role == "client"
        self.told.append((attempt, len(self.engine.requests)))


def worker(engine: HandEngine, telling: Telling | None = None) -> EngineGenerator:
    return EngineGenerator(
        engine, ["ada", "bo"], "client", worker="client@test", clock=lambda: NOW,
        report=telling or Telling(engine), new_id=lambda: "attempt-1",
    )  # fmt: skip


def test_a_step_that_comes_back_unknown_is_told_and_not_generated() -> None:
    engine = QuickEngine(a_completion())
    found = worker(engine).generate(a_step(), redelivered=True)
    assert isinstance(found, Attempt)
    assert (found.step_id, found.kind, found.worker) == (
        a_step().step_id, "returned", "client@test",
    )  # fmt: skip
    assert engine.requests == []


def test_a_step_that_comes_back_to_who_did_it_is_repeated() -> None:
    engine = QuickEngine(a_completion("once"))
    known = worker(engine)
    first = known.generate(a_step())
    assert known.generate(a_step(), redelivered=True) is first
    assert len(engine.requests) == 1


@pytest.mark.parametrize("suspect", [False, True])
def test_a_step_that_comes_back_to_who_has_it_in_hand_joins(suspect: bool) -> None:
    engine = HandEngine()
    known, step = worker(engine), SUSPECT if suspect else a_step()
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(known.generate, step)
        assert engine.submitted.acquire(timeout=30)
        again = [pool.submit(known.generate, step, redelivered=True) for _ in range(3)]
        engine.futures[0].set_result(a_completion())
        results = [future.result(30) for future in (first, *again)]
    assert all(isinstance(result, Submission) for result in results)
    assert len(engine.requests) == 1


def test_a_step_past_its_deadline_is_failed_even_where_it_came_back() -> None:
    engine = QuickEngine(a_completion())
    late = EngineGenerator(
        engine, ["ada"], "client", worker="w", clock=lambda: NOW + seconds(60)
    ).generate(a_step(deadline=20), redelivered=True)
    assert isinstance(late, Submission)
    assert late.error is not None
    assert late.error.kind == "DeadlineExceeded"


def test_a_suspect_is_told_of_before_it_starts() -> None:
    engine = QuickEngine(a_completion())
    telling = Telling(engine)
    found = worker(engine, telling).generate(SUSPECT)
    assert isinstance(found, Submission)
    ((told, requests),) = telling.told
    assert (told.kind, told.step_id, requests) == ("alone", SUSPECT.step_id, 0)
    assert len(engine.requests) == 1


@pytest.mark.alone
def test_a_suspect_runs_with_nothing_beside_it() -> None:
    engine = HandEngine()
    known = worker(engine)

    def start(step: Step) -> Future[Submission | Attempt]:
        future = pool.submit(known.generate, step)
        time.sleep(0.05)
        return future

    with ThreadPoolExecutor(4) as pool:
        before = start(a_step("bo"))
        suspect = start(SUSPECT)
        after = start(a_step("bo", "refine"))
        assert [request.request_id for request in engine.requests] == [a_step("bo").step_id]
        engine.futures[0].set_result(a_completion())
        before.result(30)
        time.sleep(0.05)
        assert [r.request_id for r in engine.requests[1:]] == [SUSPECT.step_id]
        engine.futures[1].set_result(a_completion())
        suspect.result(30)
        assert engine.submitted.acquire(timeout=30)
        time.sleep(0.05)
        engine.futures[2].set_result(a_completion())
        after.result(30)


def test_many_that_come_and_go_never_meet_one_that_is_alone() -> None:
    company, lock = ExclusiveGate(), threading.Lock()
    inside: list[str] = []
    seen: list[tuple[str, ...]] = []

    def visit(number: int) -> None:
        kind = "alone" if number % 5 == 0 else "together"
        with company.exclusive() if kind == "alone" else company.shared():
            with lock:
                inside.append(kind)
                seen.append(tuple(inside))
            time.sleep(0.001)
            with lock:
                inside.remove(kind)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(visit, range(100)))
    assert len(seen) == 100
    assert all(met == ("alone",) for met in seen if "alone" in met)
    assert any(len(met) > 1 for met in seen)
