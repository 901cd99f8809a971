"""Nothing accepted is lost and nothing is recorded twice, whichever part of a site fails.

`make test-all` injects the faults of SELECTION; `make chaos` all of them, at each stage.
`pytest tests/chaos -k "the broker" --queries 240` selects faults by name and the size of a wave.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.chaos.campaign import Broken, Campaign, cases
from tests.chaos.faults import Fault

pytestmark = [
    *(pytest.mark.chaos, pytest.mark.nightly, pytest.mark.alone, pytest.mark.slow),
    *(pytest.mark.rabbitmq, pytest.mark.postgres),
]

#: Every service and every kind of process once, at another stage each; then cuts and refusals.
SELECTION = {
    ("kill one of two coordinators", "accepting"),
    ("kill all coordinators", "refining"),
    ("kill coordinators between commit and publish", "drafting"),
    ("kill the server in mid-batch", "synthesizing"),
    ("kill the only process of a client", "drafting"),
    ("kill the broker", "synthesizing"),
    ("kill the database", "drafting"),
    ("kill the server and the database", "synthesizing"),
    ("reset the connections of a worker", "refining"),
    ("database turns read-only", "drafting"),
    ("freeze a client while another process does its steps", "drafting"),
}


def _parameters() -> list[object]:
    return [
        pytest.param(
            fault,
            stage,
            marks=[] if (fault.name, stage) in SELECTION else pytest.mark.exhaustive,
            id=f"{fault.name}, {stage}",
        )
        for fault, stage in cases()
    ]


@pytest.mark.parametrize(("fault", "stage"), _parameters())
def test_every_query_in_flight_ends_once_and_nothing_is_recorded_twice(
    campaign: Campaign,
    fault: Fault,
    stage: str,
    pytestconfig: pytest.Config,
    figures: Callable[[str], None],
) -> None:
    if reason := fault.missing():
        pytest.skip(f"NOT TESTED: {reason}")
    queries = pytestconfig.getoption("--queries")

    (row,) = campaign.run([(fault, stage)], queries)

    assert not isinstance(row, Broken), row
    figures(row.line)
    assert row.problems == {}
    assert row.accepted == queries
    assert row.in_flight > 0
