"""Looking at queues where there is nothing to look at."""

from __future__ import annotations

import socket

import pytest

from colm.models.errors import TransientError
from colm.tasks.broker.queue_stats import count_consumers, queues_with_consumers
from tests.unit.conftest import SetEnvironment


def test_a_broker_that_cannot_be_reached_is_named_without_its_password(
    environment: SetEnvironment,
) -> None:
    with socket.socket() as closed:  # bound, not listening: nobody else takes the port
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        environment(COLM_BROKER=f"amqp://user:secret@127.0.0.1:{port}/colm")
        for look in (count_consumers, queues_with_consumers):
            with pytest.raises(TransientError, match=f"127.0.0.1:{port}") as caught:
                look("colm.ask")
            assert "secret" not in str(caught.value)
