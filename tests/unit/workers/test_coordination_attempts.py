"""Steps that may have killed their worker: asked again, in the end alone, and then given up."""

from __future__ import annotations

import pytest

from colm.models.messages import Attempt, Step
from colm.models.receipt import Receipt
from colm.models.redelivery import AttemptKind
from tests.unit.coordination_site import ID, Site
from tests.unit.examples import a_step, key_of, seconds, submitted


@pytest.fixture
def site() -> Site:
    site = Site()
    site.ask(strategy="single")
    return site


def tell(site: Site, step: Step, kind: AttemptKind, attempt_id: str) -> Receipt:
    told = Attempt(**key_of(step), attempt_id=attempt_id, kind=kind, worker=f"w of {attempt_id}")
    return site.coordinator.attempt(told)


def alone(site: Site) -> list[bool]:
    return [step.alone for step in site.sent]


def test_a_step_that_came_back_is_asked_again_in_company_then_alone(site: Site) -> None:
    (step,) = site.sent
    assert tell(site, step, "returned", "attempt-1") == "recorded"
    assert tell(site, step, "returned", "attempt-2") == "recorded"
    assert alone(site) == [False, False, True]
    assert {sent.step_id for sent in site.sent} == {step.step_id}
    assert tell(site, step, "alone", "attempt-3") == "recorded"
    assert alone(site) == [False, False, True]
    site.coordinator.submit(submitted(step, "All is well."))
    assert site.answers[0].answer == "All is well."


def test_a_step_that_came_back_from_a_run_alone_fails_and_its_query_goes_on(site: Site) -> None:
    (step,) = site.sent
    kinds: list[AttemptKind] = ["returned", "returned", "alone", "returned"]
    for number, kind in enumerate(kinds, 1):
        assert tell(site, step, kind, f"attempt-{number}") == "recorded"
    outcome = site.record.lives[ID].steps[step.step_id].outcome
    assert outcome is not None
    assert (outcome.status, outcome.error and outcome.error.kind) == ("failed", "Poison")
    assert "was redelivered 3 times" in outcome.reason
    assert "w of attempt-3" in outcome.reason
    assert [answer.status for answer in site.answers] == ["failed"]
    assert "Poison" in (site.answers[0].reason or "")


def test_what_is_told_twice_counts_once_but_is_asked_again(site: Site) -> None:
    # Whoever recorded it may have died before the publish.
    (step,) = site.sent
    for _ in range(5):
        tell(site, step, "returned", "attempt-1")
    assert alone(site) == [False] * 6
    assert len(site.record.lives[ID].redelivery_history(step.step_id)) == 1


def test_what_is_told_of_a_step_that_is_over_changes_nothing(site: Site) -> None:
    (step,) = site.sent
    site.coordinator.submit(submitted(step))
    assert tell(site, step, "returned", "attempt-1") == "late"
    assert tell(site, a_step("ada", "refine"), "returned", "attempt-2") == "unasked"
    assert len(site.sent) == 1


def test_a_deadline_is_kept_while_a_step_comes_back(site: Site) -> None:
    (step,) = site.sent
    tell(site, step, "returned", "attempt-1")
    site.now += seconds(2000)
    site.coordinator.process_due()
    assert tell(site, step, "returned", "attempt-2") == "late"
    assert len(site.sent) == 2
