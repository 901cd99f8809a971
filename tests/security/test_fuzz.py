"""Some strange messages; `python -m tests.security.fuzz --messages 100000` sends many more."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from colm.tasks import dependencies, submissions
from colm.tasks.submissions import _letters
from tests.security import fuzz
from tests.security.fuzz_messages import Sent
from tests.unit.conftest import SetEnvironment

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
def target(
    environment: SetEnvironment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> fuzz.Target:
    environment(COLM_BROKER="amqp://host/colm", COLM_DATABASE="sqlite:///unused.db")
    monkeypatch.setattr(dependencies, "_runtime", dependencies._Runtime())
    monkeypatch.setattr(submissions, "_letters", _letters)  # and put back
    monkeypatch.setattr(logging.root.manager, "disable", logging.WARNING)
    return fuzz.Target(tmp_path)


def test_strange_messages_crash_nothing_and_leave_no_row_that_should_not_exist(
    target: fuzz.Target,
) -> None:
    fuzz.feed(target, 1_500, seed=20261120)
    target.check()
    assert target.counts.total() >= 1_500
    assert target.counts["turned away"] > 100
    assert target.counts["refused"] > 100
    assert target.counts["colm.submit recorded"] > 0
    target.close()


def test_the_check_finds_a_row_that_should_not_exist(target: fuzz.Target) -> None:
    target.take(HONEST)
    assert target.counts["colm.submit recorded"] == 1
    target.check()
    target.counts["colm.submit recorded"] -= 1
    with pytest.raises(AssertionError, match="1 outcomes are recorded, 0 were taken"):
        target.check()
    target.close()


def test_the_check_finds_a_submission_under_a_strangers_key(target: fuzz.Target) -> None:
    told = {"receipt": "recorded", "step": "query-0003.1.draft.ada.0"}
    with pytest.raises(AssertionError, match="bo submitted for"):
        target._expect(HONEST._replace(routing_key="draft.bo"), told)
    target.close()
