"""One site for all faults of a module; whoever breaks it for good gives the next a new one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.campaign import Campaign


@pytest.fixture(scope="module")
def campaign(rabbitmq_installed: None, postgres_installed: None) -> Iterator[Campaign]:
    with Campaign() as found:
        yield found
