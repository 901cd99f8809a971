"""What a process takes of each lane, and that overnight steps leave room for the others."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from weakref import WeakSet

import pytest
from celery.worker import state

from colm.models.messages import Step
from colm.workers.consumer.bootsteps import _limit_overnight, held_overnight
from colm.workers.consumer.lanes import lanes_of, overnight_share
from colm.workers.participant.generator import EngineGenerator
from tests.unit.examples import NOW, a_completion, a_step
from tests.unit.workers.test_participant import HandEngine

ONE_CLIENT = ("colm.draft.ada", "colm.refine.ada", "colm.overnight.ada")


@pytest.mark.parametrize(("capacity", "overnight", "threads"), [(1, 1, 2), (2, 1, 3), (8, 7, 15)])
def test_overnight_steps_are_held_up_to_their_share_and_all_have_a_thread(
    capacity: int, overnight: int, threads: int
) -> None:
    lanes = lanes_of(ONE_CLIENT, capacity)
    assert [lanes.prefetch(queue) for queue in ONE_CLIENT] == [capacity, capacity, overnight]
    assert lanes.threads == threads
    assert overnight_share(capacity) == overnight


def test_names_of_one_process_divide_the_share() -> None:
    queues = [f"colm.{kind}.{name}" for name in ("a", "b", "c") for kind in ("draft", "overnight")]
    lanes = lanes_of(queues, 8)
    assert lanes.prefetch("colm.overnight.a") == 2
    assert lanes.threads == 8 + 6


def test_a_process_without_overnight_work_has_a_thread_for_each_place() -> None:
    assert lanes_of(["colm.ask", "colm.submissions"], 4).threads == 4


class Cycle:
    """What kombu asks for the queues to read next."""

    def consume(self, count: int) -> list[str]:
        return [*ONE_CLIENT][:count]


def test_the_embedded_broker_is_not_asked_for_more_overnight_steps_than_may_be_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = [0]
    monkeypatch.setattr("colm.workers.consumer.bootsteps.held_overnight", lambda: held[0])
    cycle: Any = Cycle()
    _limit_overnight(cycle, lanes_of(ONE_CLIENT, 2))
    assert cycle.consume(3) == [*ONE_CLIENT]
    held[0] = 1
    assert cycle.consume(3) == [*ONE_CLIENT[:2]]


class Busy(WeakSet[Any]):
    """To which other threads add at each moment, as they do under load now and then."""

    def __iter__(self) -> Any:
        raise RuntimeError("Set changed size during iteration")


def test_what_is_held_is_counted_while_tasks_begin_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def request(key: str) -> Any:
        return type("Request", (), {"delivery_info": {"routing_key": key}})()

    held = [request("overnight.ada"), request("draft.ada"), request("overnight.ada")]
    monkeypatch.setattr(state, "reserved_requests", Busy(held))
    assert held_overnight() == 2
    del held[2]
    assert held_overnight() == 1


def test_overnight_steps_in_hand_leave_a_place_in_the_batch() -> None:
    engine = HandEngine()  # of capacity 4
    worker = EngineGenerator(engine, ["ada"], "client", worker="w", clock=lambda: NOW)

    def overnight(number: int) -> Step:
        return a_step(query_id=f"query-{number:04}").model_copy(update={"lane": "overnight"})

    with ThreadPoolExecutor(8) as pool:
        slow = [pool.submit(worker.generate, overnight(number)) for number in range(6)]
        while len(engine.futures) < 3:
            time.sleep(0.01)
        quick = pool.submit(worker.generate, a_step("ada", "refine"))
        while len(engine.futures) < 4:
            time.sleep(0.01)
        time.sleep(0.1)
        assert [request.lane for request in engine.requests] == ["overnight"] * 3 + ["interactive"]
        engine.futures[3].set_result(a_completion())
        quick.result(30)
        while not all(future.done() for future in slow):
            for future in list(engine.futures):
                if not future.done():
                    future.set_result(a_completion())
            time.sleep(0.01)
    assert len(engine.requests) == 7
