"""The broker's URL decides once what the broker can do."""

from __future__ import annotations

import pytest

from colm.tasks.broker.capabilities import EMBEDDED, RABBITMQ, Broker, broker, broker_of
from colm.tasks.config.settings import Settings
from tests.unit.conftest import SetEnvironment


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("amqp://host/colm", RABBITMQ),
        ("amqps://host/colm", RABBITMQ),
        ("redis+socket:///run/x.sock", EMBEDDED),
        (None, EMBEDDED),
    ],
)
def test_the_url_names_the_broker(url: str | None, expected: Broker) -> None:
    assert broker_of(Settings(broker=url)) is expected


def test_this_process_has_the_broker_of_its_settings(environment: SetEnvironment) -> None:
    assert broker() is EMBEDDED
    environment(COLM_BROKER="amqp://host/colm")
    assert broker() is RABBITMQ
