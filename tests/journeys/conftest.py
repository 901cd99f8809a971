"""Every journey runs twice: on the embedded stack and on RabbitMQ with PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.site import Site


@pytest.fixture(
    params=[
        "embedded",
        pytest.param("rabbitmq", marks=[pytest.mark.rabbitmq, pytest.mark.postgres]),
    ]
)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """A site without processes; `configure` it, then start what the journey needs."""
    if request.param == "embedded":
        broker = request.getfixturevalue("embedded_broker_url")
        database = request.getfixturevalue("sqlite_url")
    else:
        broker = request.getfixturevalue("rabbitmq_url")
        database = request.getfixturevalue("postgres_url")
    found = Site(tmp_path, broker=broker, database=database)
    try:
        yield found
    finally:
        found.close()
