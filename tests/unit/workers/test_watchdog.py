"""A watchdog ends a process whose engine has work and does not move."""

from __future__ import annotations

import os
import sys
import threading
import time

import pytest

from colm.models.engine_settings import EngineSettings
from colm.models.engines.native.engine import ContinuousEngine
from colm.models.engines.scripted import ScriptedEngine
from colm.workers.participant.generator import EngineGenerator
from colm.workers.participant.watchdog import FIRST, Watchdog
from colm.workers.supervisor import run_process_group
from tests.unit.engines_asking import SOON, ask, endless
from tests.unit.examples import NOW, a_step

__all__ = ["endless"]  # a fixture


class Scene:
    """An engine's pulse and its oldest request, set by hand."""

    def __init__(self) -> None:
        self.progress_counter = 0
        self.since: float | None = None
        self.watchdog = Watchdog(
            lambda: self.progress_counter, lambda: self.since, 10.0, lambda: None
        )

    def moves(self, at: float) -> None:
        self.progress_counter += 1
        assert self.watchdog.stalled_for(at) is None


def test_an_engine_that_moves_or_has_no_work_is_left_alone() -> None:
    scene = Scene()
    scene.moves(0.0)
    assert scene.watchdog.stalled_for(1000.0) is None
    scene.since = 1000.0
    for second in range(1000, 1100, 9):
        scene.moves(second)


def test_an_engine_that_stands_still_with_work_hangs() -> None:
    scene = Scene()
    scene.moves(0.0)
    scene.since = 100.0
    assert scene.watchdog.stalled_for(109.0) is None
    assert scene.watchdog.stalled_for(111.0) == 11.0


def test_a_request_that_just_came_is_given_its_time() -> None:
    scene = Scene()
    scene.moves(0.0)
    scene.since = 995.0
    assert scene.watchdog.stalled_for(1000.0) is None


def test_an_engine_may_take_longer_before_it_first_moves() -> None:
    scene = Scene()
    scene.since = 0.0
    assert scene.watchdog.stalled_for(FIRST * 10.0) is None
    assert scene.watchdog.stalled_for(FIRST * 10.0 + 1) == FIRST * 10.0 + 1


def looks(scene: Scene, first: int, last: int) -> list[float]:
    """What each look of the thread finds, one a second, where it finds anything."""
    found = [scene.watchdog.look(float(second)) for second in range(first, last + 1)]
    return [stood for stood in found if stood is not None]


@pytest.mark.parametrize("moved", [True, False])
def test_a_process_that_was_frozen_gives_its_engine_the_whole_time_again(moved: bool) -> None:
    scene = Scene()
    if moved:
        scene.progress_counter = 1
    limit = 10 if moved else int(FIRST * 10)
    assert looks(scene, 1, 3) == []
    scene.since = 3.0
    assert looks(scene, 4, 5) == []
    assert looks(scene, 1000, 1000 + limit) == []  # stopped for 995 s, and given its time since
    assert looks(scene, 1001 + limit, 1001 + limit) == [limit + 1.0]


def test_looks_that_come_a_little_late_hide_no_hang() -> None:
    scene = Scene()
    scene.moves(0.0)
    scene.since = 0.0
    assert [scene.watchdog.look(at) for at in (1.0, 5.5, 9.9)] == [None] * 3
    assert scene.watchdog.look(12.0) == 12.0


def test_the_thread_itself_notices_that_it_was_held_up() -> None:
    times = iter([0.0, 1.0, 500.0, 500.1])
    told: list[float] = []
    enough = threading.Event()

    def now() -> float:
        told.append(next(times, 500.2))
        if len(told) == 6:
            enough.set()
        return told[-1]

    ended = threading.Event()
    watchdog = Watchdog(lambda: 0, lambda: 0.0, 0.2, ended.set, monotonic=now)
    watchdog.start()
    try:
        assert enough.wait(10)
        assert not ended.is_set()
    finally:
        watchdog.close()


def test_a_scripted_engine_that_hangs_ends_its_process() -> None:
    engine = ScriptedEngine(EngineSettings(kind="scripted", stall_on="HANG"))
    worker = EngineGenerator(engine, ["ada"], "client", worker="w", clock=lambda: NOW)
    ended = threading.Event()
    watchdog = Watchdog(lambda: engine.progress_counter, worker.waiting_since, 0.2, ended.set)
    watchdog.start()
    try:
        assert not ended.wait(0.5)
        engine.submit(ask("HANG"))
        assert not ended.wait(0.5)  # not in hand, as far as the worker knows
        threading.Thread(
            target=lambda: worker.generate(a_step(content="HANG")), daemon=True
        ).start()
        assert ended.wait(30)
    finally:
        watchdog.close()
        engine.close()


def test_the_pulse_of_a_real_engine_grows_with_its_tokens_and_rests_without_work(
    endless: ContinuousEngine,
) -> None:
    before = endless.progress_counter
    endless.submit(ask("What is blue?", new=20)).result(SOON)
    assert endless.progress_counter >= before + 20
    time.sleep(0.1)
    rest = endless.progress_counter
    time.sleep(0.2)
    assert endless.progress_counter == rest


@pytest.mark.parametrize("status", [os.EX_SOFTWARE])
def test_a_process_that_lost_its_engine_is_started_again_and_others_are_not_touched(
    status: int, tmp_path: object
) -> None:
    mark = f"{tmp_path}/once"
    program = (
        "import os, sys\n"
        f"first = not os.path.exists({mark!r})\n"
        f"open({mark!r}, 'a').close()\n"
        f"sys.exit({status} if first else 3)"
    )
    started = time.monotonic()
    code = run_process_group(
        [[sys.executable, "-c", program]], stopped=threading.Event().wait
    )  # ends with the second start's own status
    assert code == 3
    assert time.monotonic() - started < 30
