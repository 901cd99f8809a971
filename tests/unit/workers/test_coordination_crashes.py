"""What a coordinator's crash, a lost mark or a missing queue leaves behind is found again."""

from __future__ import annotations

import threading

import pytest

from colm.models.errors import NoConsumer, Overloaded, SettingsError, TooLarge, TransientError
from colm.models.messages import Submission
from colm.workers.coordinator.coordinator import REFUSED_FOR, STRANDED_AFTER
from tests.unit.coordination_site import ID, Site
from tests.unit.examples import QUESTION, seconds, submitted


@pytest.fixture
def site() -> Site:
    return Site()


def test_a_crash_between_commit_and_publish_leaves_steps_that_are_found(site: Site) -> None:
    site.broken["ada"] = TransientError("the broker went away")
    with pytest.raises(TransientError):
        site.ask()
    site.broken.clear()
    site.now += STRANDED_AFTER
    assert site.coordinator.republish_undispatched() == 0  # it may be on its way still
    site.now += seconds(0.1)
    assert site.coordinator.republish_undispatched() == 2
    assert site.who() == ["draft ada", "draft bo"]
    assert site.coordinator.republish_undispatched() == 0


def test_exactly_what_was_not_marked_and_is_still_open_is_published_again(site: Site) -> None:
    site.broken["bo"] = TransientError("the broker went away")
    with pytest.raises(TransientError):
        site.ask()
    assert set(site.record.marked) == {"query-0001.1.draft.ada.0"}  # what was sent is marked
    site.broken.clear()
    site.sent.clear()
    site.now += seconds(11)
    assert site.coordinator.republish_undispatched() == 1
    assert site.who() == ["draft bo"]


def test_marks_that_were_lost_repeat_the_message_and_the_repeat_is_harmless(site: Site) -> None:
    site.marking = False
    site.ask()
    site.coordinator.submit(submitted(site.sent[0]))
    site.now += seconds(11)
    assert site.coordinator.republish_undispatched() == 1  # ada has answered
    assert site.who() == ["draft ada", "draft bo", "draft bo"]
    site.marking = True
    site.answer_all()
    assert site.who().count("synthesize main") == 1
    assert len(site.answers) == 1


@pytest.mark.parametrize("error", [NoConsumer("no such queue"), Overloaded("full")])
def test_a_queue_that_is_missing_or_full_keeps_no_other_step_waiting(
    site: Site, error: Exception
) -> None:
    site.broken["ada"] = error
    site.ask()
    assert site.who() == ["draft bo"]
    site.now += seconds(11)
    assert site.coordinator.republish_undispatched() == 1
    site.broken.clear()
    site.coordinator.republish_undispatched()
    assert site.who() == ["draft bo", "draft ada"]


def test_an_ended_querys_steps_are_never_published_again(site: Site) -> None:
    site.marking = False
    site.ask(strategy="single")
    site.answer_all()
    site.now += seconds(60)
    assert site.coordinator.republish_undispatched() == 0


def test_many_coordinators_at_once_ask_for_one_synthesis(site: Site) -> None:
    site.ask()
    drafts = list(site.sent) * 8
    start = threading.Barrier(len(drafts))

    def submit(submission: Submission) -> None:
        start.wait()
        site.coordinator.submit(submission)

    threads = [threading.Thread(target=submit, args=[submitted(step)]) for step in drafts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert site.who() == ["draft ada", "draft bo", "synthesize main"]


@pytest.mark.parametrize("error", [TooLarge("message size 9 is larger"), ValueError("no JSON")])
def test_a_step_that_can_never_be_sent_fails_at_once_with_the_reason_and_keeps_no_other(
    site: Site, error: Exception
) -> None:
    site.broken["ada"] = error
    site.ask()
    (state,) = [s for s in site.record.lives[ID].steps.values() if s.step.participant == "ada"]
    assert state.outcome is not None
    assert state.outcome.reason == f"Unsent: {type(error).__name__}: {error}"
    assert site.who() == ["draft bo"]
    site.answer_all()
    assert site.answers[0].status == "answered"
    site.now += seconds(11)
    assert site.coordinator.republish_undispatched() == 0


def test_a_query_whose_every_step_can_never_be_sent_fails_with_the_reason(site: Site) -> None:
    site.broken = dict.fromkeys(("ada", "bo"), TooLarge("message size 9 is larger"))
    site.ask()
    assert [answer.status for answer in site.answers] == ["failed"]
    assert "message size 9" in str(site.answers[0].reason)


def test_a_step_that_the_broker_refuses_for_want_of_a_right_waits_for_it_and_not_for_ever(
    site: Site,
) -> None:
    site.broken["ada"] = SettingsError("no right to that")
    site.ask(strategy="single", deadline=600)
    site.now += STRANDED_AFTER + seconds(1)
    site.coordinator.republish_undispatched()
    assert site.answers == []
    site.now += REFUSED_FOR
    site.coordinator.republish_undispatched()
    assert "Unsent: no right to that" in str(site.answers[0].reason)


def test_a_right_that_is_given_back_lets_the_step_go_on(site: Site) -> None:
    site.broken["ada"] = SettingsError("no right to that")
    site.ask(strategy="single")
    site.broken.clear()
    site.now += STRANDED_AFTER + seconds(1)
    site.coordinator.republish_undispatched()
    site.answer_all()
    assert site.answers[0].status == "answered"
    assert not site.coordinator._unsent


@pytest.mark.parametrize("error", [NoConsumer("no queue colm.draft.ada"), Overloaded("it is full")])
def test_a_step_that_was_never_sent_is_not_said_to_be_its_participants_silence(
    site: Site, error: Exception
) -> None:
    site.broken["ada"] = error
    site.ask(strategy="single")
    site.now += seconds(20)
    site.coordinator.process_due()
    reason = str(site.answers[0].reason)
    assert str(error) in reason
    assert "nothing came" not in reason


def test_steps_that_wait_for_their_queue_keep_no_stranded_step_from_being_found(
    site: Site,
) -> None:
    site.broken["ada"] = Overloaded("full")
    for n in range(4):
        site.coordinator.accept(f"query-{n:04d}", QUESTION, {"strategy": "single"})
    site.broken["bo"] = TransientError("away")
    site.now += seconds(0.1)
    with pytest.raises(TransientError):
        site.coordinator.accept("query-0009", QUESTION, {"strategy": "single", "participant": "bo"})
    del site.broken["bo"]
    site.now += STRANDED_AFTER + seconds(0.1)
    site.coordinator.republish_undispatched(limit=2)
    assert site.who() == ["draft bo"]


def test_a_query_that_cannot_go_on_ends_with_the_reason(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.ask()

    def broken(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("colm.workers.coordinator.coordinator.next_move", broken)
    site.now += seconds(20)
    site.coordinator.process_due()
    assert [answer.status for answer in site.answers] == ["failed"]
    assert "a fault of ours" in str(site.answers[0].reason)


def test_a_query_of_which_nothing_can_be_recorded_is_left_for_a_while_and_keeps_no_other(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    site.ask()
    site.now += seconds(1)
    site.coordinator.accept("query-0002", QUESTION, {})
    opened = site.record.open

    def open_(query_id: str) -> object:
        if query_id == ID:
            raise ValueError("its row cannot be read")
        return opened(query_id)

    monkeypatch.setattr(site.record, "open", open_)
    site.now += seconds(30)
    for _ in range(3):
        site.coordinator.process_due(limit=1)
    assert [answer.query_id for answer in site.answers] == ["query-0002"]
    assert caplog.text.count(f"query {ID} cannot be advanced") == 1
    monkeypatch.undo()
    site.now += REFUSED_FOR
    site.coordinator.process_due()
    assert [answer.query_id for answer in site.answers] == ["query-0002", ID]
