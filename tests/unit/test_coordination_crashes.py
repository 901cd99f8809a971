"""What a coordinator's crash, a lost mark or a missing queue leaves behind is found again."""

from __future__ import annotations

import threading

import pytest

from models.errors import NoConsumer, Overloaded, TransientError
from models.messages import Submission
from tasks.coordination import STRANDED_AFTER
from tests.unit.coordination_site import Site
from tests.unit.examples import seconds, submitted


@pytest.fixture
def site() -> Site:
    return Site()


def test_a_crash_between_commit_and_publish_leaves_steps_that_are_found(site: Site) -> None:
    site.broken["ada"] = TransientError("the broker went away")
    with pytest.raises(TransientError):
        site.ask()
    site.broken.clear()
    site.now += STRANDED_AFTER
    assert site.coordinator.republish_stranded() == 0  # it may be on its way still
    site.now += seconds(0.1)
    assert site.coordinator.republish_stranded() == 2
    assert site.who() == ["draft ada", "draft bo"]
    assert site.coordinator.republish_stranded() == 0


def test_exactly_what_was_not_marked_and_is_still_open_is_published_again(site: Site) -> None:
    site.broken["bo"] = TransientError("the broker went away")
    with pytest.raises(TransientError):
        site.ask()
    assert set(site.record.marked) == {"query-0001.1.draft.ada.0"}  # what was sent is marked
    site.broken.clear()
    site.sent.clear()
    site.now += seconds(11)
    assert site.coordinator.republish_stranded() == 1
    assert site.who() == ["draft bo"]


def test_marks_that_were_lost_repeat_the_message_and_the_repeat_is_harmless(site: Site) -> None:
    site.marking = False
    site.ask()
    site.coordinator.submit(submitted(site.sent[0]))
    site.now += seconds(11)
    assert site.coordinator.republish_stranded() == 1  # ada has answered
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
    assert site.coordinator.republish_stranded() == 1
    site.broken.clear()
    site.coordinator.republish_stranded()
    assert site.who() == ["draft bo", "draft ada"]


def test_an_ended_querys_steps_are_never_published_again(site: Site) -> None:
    site.marking = False
    site.ask(strategy="single")
    site.answer_all()
    site.now += seconds(60)
    assert site.coordinator.republish_stranded() == 0


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
