"""Nothing accepted is lost, nothing recorded twice, whatever dies: a part of the matrix.

All of it: `python -m tests.chaos.report`.
"""

from __future__ import annotations

import pytest

from tests.chaos.campaign import Broken, Campaign
from tests.chaos.faults import FAULTS

pytestmark = [
    *(pytest.mark.chaos, pytest.mark.nightly, pytest.mark.alone, pytest.mark.slow),
    *(pytest.mark.rabbitmq, pytest.mark.postgres),
]

#: Enough that each stage lasts for seconds.
QUERIES = 50
#: Every service and every kind of process once, at another stage each; then cuts and refusals.
SELECTION = [
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
]


@pytest.mark.parametrize(("name", "stage"), SELECTION)
def test_every_query_in_flight_ends_once_and_nothing_is_recorded_twice(
    campaign: Campaign, name: str, stage: str
) -> None:
    fault = FAULTS[name]
    if why := fault.missing():
        pytest.skip(f"NOT TESTED: {why}")

    (row,) = campaign.run([(fault, stage)], QUERIES)

    assert not isinstance(row, Broken), row
    assert row.problems == {}
    assert row.accepted == QUERIES
    assert row.in_flight > 0
