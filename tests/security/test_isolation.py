"""Whatever a client tries with its own user is refused, by the broker or by the coordinator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.provision import VirtualHosts
from tests.security.isolation import run
from tests.services.isolated import IsolatedSite, isolated_site


@pytest.fixture
def site(
    tmp_path: Path, rabbitmq_vhosts: VirtualHosts, rabbitmq_url: str, postgres_url: str
) -> Iterator[IsolatedSite]:
    with isolated_site(tmp_path, rabbitmq_vhosts, rabbitmq_url, postgres_url) as found:
        yield found


def test_every_attempt_is_refused_as_it_should_be_and_leaves_no_trace(site: IsolatedSite) -> None:
    lines = list(run(site))

    assert [(line.what, line.refused_by) for line in lines if not line.held] == []
    kinds = {line.expected.partition(":")[0].partition(" ")[0] for line in lines}
    assert kinds == {"broker", "login", "management", "coordinator", "connection"}
    assert len(lines) > 80
