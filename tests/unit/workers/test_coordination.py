"""The coordinator on a record in memory: every message may come twice, late, or from a stranger."""

from __future__ import annotations

from typing import Any

import pytest

from colm.models.errors import TransientError, UnknownQuery
from tests.unit.coordination_site import ID, Site
from tests.unit.examples import QUESTION, a_step, failed, seconds, submitted


@pytest.fixture
def site() -> Site:
    return Site()


def test_a_query_goes_from_its_ask_to_its_answer(site: Site) -> None:
    site.ask()
    site.answer_all()
    assert site.who() == ["draft ada", "draft bo", "synthesize main", "refine ada", "refine bo"]
    (answer,) = site.answers
    assert (answer.query_id, answer.status) == (ID, "answered")
    assert site.record.lives[ID].answer == answer


def test_everything_is_published_and_announced_after_the_commit_and_marked_after_that(
    site: Site,
) -> None:
    site.ask()
    assert site.record.log == ["commit", "send draft ada", "send draft bo", "mark 2"]
    site.answer_all()
    assert site.record.log[-2:] == ["commit", "announce"]
    for entry, after in zip(site.record.log, site.record.log[1:], strict=False):
        if after.startswith(("send synthesize", "announce")):
            assert entry == "commit"


def test_an_ask_that_is_delivered_again_asks_nothing_again(site: Site) -> None:
    site.ask()
    site.ask()
    assert site.who() == ["draft ada", "draft bo"]
    site.answer_all()
    site.ask()
    assert len(site.sent) == 5
    assert len(site.answers) == 1


def test_a_submission_that_comes_again_changes_nothing(site: Site) -> None:
    site.ask()
    draft = submitted(site.sent[0], "the first")
    assert site.coordinator.submit(draft) == "recorded"
    assert site.coordinator.submit(draft) == "repeated"
    assert site.coordinator.submit(submitted(site.sent[0], "another")) == "repeated"
    assert site.coordinator.submit(failed(site.sent[0])) == "repeated"
    site.answer_all()
    assert site.answers[0].clients["ada"].draft == "the first"
    assert len(site.sent) == 5


def test_the_last_draft_twice_asks_for_one_synthesis(site: Site) -> None:
    site.ask()
    for step in list(site.sent):
        site.coordinator.submit(submitted(step))
        site.coordinator.submit(submitted(step))
    assert site.who().count("synthesize main") == 1


def test_a_step_that_was_never_asked_stores_nothing(site: Site) -> None:
    site.ask()
    assert site.coordinator.submit(submitted(a_step("ada", "refine"))) == "unasked"
    assert site.coordinator.submit(submitted(a_step("zoe"))) == "unasked"
    assert all(state.open for state in site.record.lives[ID].steps.values())


def test_a_submission_for_an_unknown_query_is_an_error(site: Site) -> None:
    with pytest.raises(UnknownQuery):
        site.coordinator.submit(submitted(a_step(query_id="query-0002")))


def test_what_comes_after_the_close_is_late_and_changes_nothing(site: Site) -> None:
    site.ask()
    ada, bo = site.sent
    site.coordinator.submit(submitted(ada))
    site.now += seconds(20)
    assert site.coordinator.process_due() == 1
    assert site.who()[-1] == "synthesize main"
    assert site.coordinator.submit(submitted(bo, "sorry")) == "late"
    site.answer_all()
    assert site.answers[0].clients["bo"].draft is None


def test_what_comes_after_the_answer_changes_nothing(site: Site) -> None:
    site.ask(strategy="single")
    (step,) = site.sent
    site.now += seconds(20)
    site.coordinator.process_due()
    assert site.coordinator.submit(submitted(step)) == "late"
    assert [answer.status for answer in site.answers] == ["failed"]


def test_a_failure_of_a_participant_is_recorded_with_its_reason(site: Site) -> None:
    site.ask(strategy="single")
    site.coordinator.submit(failed(site.sent[0], "no memory"))
    assert site.answers[0].reason == "ada: EngineError: no memory"


@pytest.mark.parametrize(
    ("question", "options", "reason"),
    [
        ("", {}, "question"),
        (QUESTION, {"clients": ["zoe"]}, "unknown client 'zoe'"),
        (QUESTION, {"strategy": "clom"}, "unknown strategy 'clom'"),
        (QUESTION, {"select": 3}, "select=3"),
        ((QUESTION, 5), {}, "question"),
        (None, {"options": {"rounds": []}}, "question"),
    ],
)
def test_an_unusable_ask_is_refused_on_the_record(
    site: Site, question: Any, options: dict[str, Any], reason: str
) -> None:
    for _ in range(2):
        site.coordinator.accept(ID, question, options)
    refusal = site.record.refused[ID]
    assert reason in refusal.reason
    assert refusal.strategy == options.get("strategy", "colm")
    assert site.refusals[0] == (ID, refusal.reason)
    assert site.sent == []
    assert site.record.lives == {}


def test_an_ask_under_an_unusable_id_is_refused_too(site: Site) -> None:
    site.coordinator.accept("no.dots", QUESTION, {})
    assert "query_id" in site.record.refused["no.dots"].reason


def test_only_due_queries_are_woken(site: Site) -> None:
    site.ask()
    assert site.coordinator.process_due() == 0
    site.now += seconds(19.9)
    assert site.coordinator.process_due() == 0
    site.now += seconds(0.1)
    assert site.coordinator.process_due() == 1
    assert site.answers[0].status == "failed"
    assert site.coordinator.process_due() == 0


def test_a_query_that_cannot_be_woken_does_not_stop_the_others(site: Site) -> None:
    site.ask()
    poisoned = site.record.lives.pop(ID)
    site.now += seconds(1)
    site.coordinator.accept("query-0002", QUESTION, {})
    poisoned.query = poisoned.query.model_copy(update={"strategy": "gone"})
    site.record.lives[ID] = poisoned
    site.now += seconds(30)
    assert site.coordinator.process_due() == 2
    broken, whole = site.answers
    assert broken.query_id == ID
    assert broken.status == "failed"
    assert "the strategy failed" in (broken.reason or "")
    assert whole.query_id == "query-0002"


def test_a_database_that_is_away_ends_the_look_at_deadlines(site: Site) -> None:
    site.ask()
    site.broken["main"] = TransientError("the broker is away")
    site.coordinator.submit(submitted(site.sent[0]))
    site.now += seconds(20)
    with pytest.raises(TransientError):
        site.coordinator.process_due()
