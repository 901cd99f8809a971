"""A watchdog ends a process whose engine has work and does not move."""

from __future__ import annotations

import sys
import threading
import time

import pytest

from models.engine_settings import EngineSettings
from models.engines.continuous import ContinuousEngine
from models.engines.scripted import ScriptedEngine
from tests.unit.engines_asking import SOON, ask, endless
from tests.unit.examples import NOW, a_step
from workers.devices import run_together
from workers.generator import EX_SOFTWARE, EngineGenerator
from workers.watchdog import FIRST, Watchdog

__all__ = ["endless"]  # a fixture


class Scene:
    """An engine's pulse and its oldest request, set by hand."""

    def __init__(self) -> None:
        self.pulse = 0
        self.since: float | None = None
        self.watchdog = Watchdog(lambda: self.pulse, lambda: self.since, 10.0, lambda: None)

    def moves(self, at: float) -> None:
        self.pulse += 1
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


def test_a_scripted_engine_that_hangs_ends_its_process() -> None:
    engine = ScriptedEngine(EngineSettings(kind="scripted", hangs_on="HANG"))
    worker = EngineGenerator(engine, ["ada"], "client", worker="w", clock=lambda: NOW)
    ended = threading.Event()
    watchdog = Watchdog(lambda: engine.pulse, worker.waiting_since, 0.2, ended.set)
    watchdog.start()
    try:
        assert not ended.wait(0.5)
        engine.submit(ask("HANG"))
        assert not ended.wait(0.5)  # not in hand, as far as the worker knows
        threading.Thread(
            target=lambda: worker.generate(a_step(content="HANG")), daemon=True
        ).start()
        assert ended.wait(5)
    finally:
        watchdog.close()
        engine.close()


def test_the_pulse_of_a_real_engine_grows_with_its_tokens_and_rests_without_work(
    endless: ContinuousEngine,
) -> None:
    before = endless.pulse
    endless.submit(ask("What is blue?", new=20)).result(SOON)
    assert endless.pulse >= before + 20
    time.sleep(0.1)
    rest = endless.pulse
    time.sleep(0.2)
    assert endless.pulse == rest


@pytest.mark.parametrize("status", [EX_SOFTWARE])
def test_a_process_that_lost_its_engine_is_started_again_and_others_are_not_touched(
    status: int, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.devices.RESTART_PAUSE", 0.05)
    mark = f"{tmp_path}/once"
    program = (
        "import os, sys\n"
        f"first = not os.path.exists({mark!r})\n"
        f"open({mark!r}, 'a').close()\n"
        f"sys.exit({status} if first else 3)"
    )
    started = time.monotonic()
    code = run_together(
        [[sys.executable, "-c", program]], stopped=threading.Event().wait
    )  # ends with the second start's own status
    assert code == 3
    assert time.monotonic() - started < 30
