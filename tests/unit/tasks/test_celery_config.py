"""Celery is told what keeps work from being lost, on each broker."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from tests.unit.conftest import SetEnvironment

CONFIG = Path(__file__).parents[3] / "tasks" / "celery_config.py"


@pytest.fixture
def configured(environment: SetEnvironment) -> Any:
    def read(**variables: str) -> dict[str, Any]:
        environment(**variables)
        return runpy.run_path(str(CONFIG))

    return read


def test_work_is_acked_late_and_never_dropped_on_a_fault(configured: Any) -> None:
    for broker in ("amqp://host/colm", "redis+socket:///run/x.sock"):
        conf = configured(COLM_BROKER=broker)
        assert conf["broker_url"] == broker
        assert conf["task_acks_late"]
        assert not conf["task_acks_on_failure"]
        assert not conf["task_acks_on_timeout"]
        assert conf["task_reject_on_worker_lost"]
        assert conf["worker_prefetch_multiplier"] == 1
        assert not conf["task_create_missing_queues"]
        assert conf["accept_content"] == ["json"]


def test_rabbitmq_confirms_every_publish(configured: Any) -> None:
    conf = configured(COLM_BROKER="amqp://host/colm")
    assert conf["broker_transport_options"]["confirm_publish"] is True
    assert {queue.name for queue in conf["task_queues"]} >= {"colm.ask", "colm.draft.ada"}


def test_the_embedded_broker_delivers_nothing_again_that_still_runs(configured: Any) -> None:
    conf = configured(COLM_DEADLINES__QUERY="5000")
    assert conf["broker_transport_options"]["visibility_timeout"] > 5000


def test_beat_orders_no_task_that_no_worker_of_ours_takes(configured: Any) -> None:
    assert configured()["result_expires"] is None  # else one every night, to remove old results
