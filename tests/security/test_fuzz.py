"""No message of a participant crashes a coordinator or leaves an unexplained row."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from colm.tasks import dependencies, submissions
from colm.tasks.broker.rate_limit import TokenBucket
from tests.security.fuzz_messages import Sent
from tests.security.fuzz_target import Target, feed
from tests.unit.conftest import SetEnvironment

#: Messages for one database; the next has every query open again.
BATCH = 2_000
HONEST = Sent(
    exchange="colm.drafts",
    routing_key="draft.ada",
    headers={"task": "colm.submit", "id": "some-task-01"},
    content_type="application/json",
    content_encoding="utf-8",
    body=b'[[], {"submission": {"query_id": "query-0003", "round": 1, "act": "draft",'
    b' "participant": "ada", "worker": "w", "error": {"kind": "x", "reason": "y"}}}, null]',
)


@pytest.fixture
def new_target(
    environment: SetEnvironment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[], Target]:
    environment(COLM_BROKER="amqp://host/colm", COLM_DATABASE="sqlite:///unused.db")
    monkeypatch.setattr(dependencies, "_runtime", dependencies._Runtime())
    # Every refusal is recorded: none exceeds the rate.
    monkeypatch.setattr(submissions, "_letters", TokenBucket(1e9, 1e9))
    monkeypatch.setattr(logging.root.manager, "disable", logging.WARNING)

    def create() -> Target:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        return Target(folder)

    return create


@pytest.fixture
def target(new_target: Callable[[], Target]) -> Iterator[Target]:
    target = new_target()
    yield target
    target.close()


def test_strange_messages_crash_nothing_and_leave_no_row_that_should_not_exist(
    target: Target,
) -> None:
    feed(target, 1_500, seed=20261120)
    target.check()
    assert target.counts.total() >= 1_500
    assert target.counts["turned away"] > 100
    assert target.counts["refused"] > 100
    assert target.counts["colm.submit recorded"] > 0


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_many_strange_messages_crash_nothing(
    new_target: Callable[[], Target], request: pytest.FixtureRequest, figures: Callable[[str], None]
) -> None:
    counts, slowest = Counter[str](), 0.0
    for batch in range(request.config.getoption("--messages") // BATCH):
        target = new_target()
        feed(target, BATCH, seed=1_000_003 + batch)
        target.check()
        counts += target.counts
        slowest = max(slowest, target.slowest)
        target.close()
    ends = ", ".join(f"{count} {end}" for end, count in counts.most_common())
    figures(f"fuzz: {counts.total()} messages, slowest {1000 * slowest:.0f} ms of CPU: {ends}")
    assert counts["colm.submit recorded"] > 0


def test_the_check_finds_a_row_that_should_not_exist(target: Target) -> None:
    target.take(HONEST)
    assert target.counts["colm.submit recorded"] == 1
    target.check()
    target.counts["colm.submit recorded"] -= 1
    with pytest.raises(AssertionError, match="1 outcomes are recorded, 0 were accepted"):
        target.check()


def test_the_check_finds_a_submission_under_another_participants_key(target: Target) -> None:
    receipt = {"receipt": "recorded", "step": "query-0003.1.draft.ada.0"}
    with pytest.raises(AssertionError, match="bo submitted for"):
        target._check_sender(HONEST._replace(routing_key="draft.bo"), receipt)
