"""A stop ends the work of a real engine, and not only the waiting for it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from colm.models.cancellation import CancelSteps
from colm.models.engines.native.engine import ContinuousEngine
from colm.models.messages import Sampling, Submission
from colm.workers.participant.generator import EngineGenerator
from tests.unit.engines_asking import endless
from tests.unit.examples import a_step

__all__ = ["endless"]  # a fixture


@pytest.mark.alone
def test_a_running_step_is_stopped_within_a_second_and_its_engine_rests(
    endless: ContinuousEngine,
) -> None:
    worker = EngineGenerator(endless, ["ada"], "client", worker="w")
    step = a_step().model_copy(
        update={
            "sampling": Sampling(max_new_tokens=3_000),
            "deadline_at": datetime.now(UTC) + timedelta(minutes=5),
        }
    )
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(worker.generate, step)
        while endless.stats.steps < 5:
            assert not running.done()
            time.sleep(0.01)
        said = time.monotonic()
        assert worker.stop(CancelSteps(query_id=step.query_id)) == 1
        submission = running.result(10)
        assert time.monotonic() - said < 1
    assert isinstance(submission, Submission)
    assert submission.error is not None
    assert submission.error.kind == "Cancelled"
    time.sleep(0.2)
    steps = endless.stats.steps
    time.sleep(0.3)
    assert endless.stats.steps == steps < 3_000
