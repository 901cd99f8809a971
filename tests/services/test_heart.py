"""A worker whose connection for events is lost goes on taking tasks."""

from __future__ import annotations

import threading

import pytest
from celery import Celery
from celery.worker import heartbeat
from kombu.asynchronous.timer import Timer

from colm.workers.consumer.bootsteps import OURS, NonBlockingHeartbeat, PlainConsumer


@pytest.mark.rabbitmq
def test_a_sign_of_life_over_a_lost_connection_holds_up_nothing(rabbitmq_url: str) -> None:
    returned = threading.Event()

    def send_before_and_after_a_reset() -> None:
        app = Celery(broker=rabbitmq_url, set_as_current=False)
        connection = app.connection_for_write(transport_options={"confirm_publish": False})
        with connection, app.events.Dispatcher(connection, hostname="worker") as events:
            beat = NonBlockingHeartbeat(Timer(), events)
            beat._send("worker-heartbeat")
            connection.connection.transport.sock.close()  # as the broker's RST would
            beat._send("worker-heartbeat")
            assert len(events._outbound_buffer) == 1
        returned.set()

    threading.Thread(target=send_before_and_after_a_reset, daemon=True).start()

    assert returned.wait(20), "it still insists"


def test_every_worker_has_this_heart() -> None:
    steps = PlainConsumer.Blueprint.default_steps
    assert "colm.workers.consumer.bootsteps:NonBlockingHeartbeatStep" in steps
    assert [step for step in OURS if step in steps] == []
    assert issubclass(NonBlockingHeartbeat, heartbeat.Heart)
