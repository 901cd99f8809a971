"""Every attempt of a client to exceed its rights is refused by the broker or the coordinator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.provision import VirtualHosts
from tests.security.isolation import run
from tests.services.isolated import IsolatedSite, isolated_site


@pytest.fixture
def site(
    tmp_path: Path, rabbitmq_vhosts: VirtualHosts, rabbitmq_url: str, postgres_url: str
) -> Iterator[IsolatedSite]:
    with isolated_site(tmp_path, rabbitmq_vhosts, rabbitmq_url, postgres_url) as isolated:
        yield isolated


def test_every_attempt_is_refused_as_it_should_be_and_leaves_no_trace(
    site: IsolatedSite, figures: Callable[[str], None]
) -> None:
    lines = list(run(site))
    ends = Counter(line.refused_by.partition(":")[0] for line in lines)
    counts = ", ".join(f"{count} {end}" for end, count in ends.most_common())
    figures(f"isolation: {len(lines)} attempts refused: {counts}")

    assert [(line.what, line.refused_by) for line in lines if not line.held] == []
    kinds = {line.expected.partition(":")[0].partition(" ")[0] for line in lines}
    assert kinds == {"broker", "login", "management", "coordinator", "connection"}
    assert len(lines) > 80
