"""Ending a query before its time, and telling participants what nobody waits for any more."""

from __future__ import annotations

from colm.models.cancellation import Cancel, CancelSteps
from colm.models.errors import TransientError
from tests.unit.coordination_site import ID, Site
from tests.unit.examples import seconds, submitted

CANCEL = Cancel(query_id=ID, reason="asked by mistake", by="eve@host")


def stopped(site: Site) -> dict[str, tuple[str, ...]]:
    assert {stop.query_id for _, stop in site.stopped} <= {ID}
    return {participant: stop.step_ids for participant, stop in site.stopped}


def test_a_cancelled_query_fails_and_its_open_steps_are_stopped() -> None:
    site = Site()
    site.ask()
    ada, bo = site.sent
    site.coordinator.submit(submitted(ada))
    assert site.coordinator.cancel(CANCEL) == "cancelled"
    (answer,) = site.answers
    assert answer.status == "failed"
    assert answer.reason == "cancelled by eve@host: asked by mistake"
    outcome = site.record.lives[ID].steps[bo.step_id].outcome
    assert outcome is not None
    assert (outcome.status, outcome.reason) == ("expired", f"expired: {answer.reason}")
    assert stopped(site) == {"bo": (bo.step_id,)}
    assert site.coordinator.submit(submitted(bo)) == "late"
    assert len(site.sent) == 2


def test_a_query_is_cancelled_once() -> None:
    site = Site()
    site.ask()
    assert site.coordinator.cancel(CANCEL) == "cancelled"
    told = list(site.stopped)
    assert site.coordinator.cancel(CANCEL) == "ended"
    assert (len(site.answers), site.stopped) == (1, told)


def test_a_query_that_has_ended_or_is_unknown_stays_as_it_is() -> None:
    site = Site()
    site.ask(strategy="single")
    site.answer_all()
    assert site.coordinator.cancel(CANCEL) == "ended"
    unknown = CANCEL.model_copy(update={"query_id": "query-0002"})
    assert site.coordinator.cancel(unknown) == "unknown"
    assert [answer.status for answer in site.answers] == ["answered"]
    assert set(site.record.lives) == {ID}


def test_a_step_that_the_strategy_closes_before_its_deadline_is_stopped() -> None:
    # bo lets its draft expire, and is asked to refine but not waited for: ada's answer ends it.
    site = Site()
    site.ask()
    ada, bo = site.sent
    site.coordinator.submit(submitted(ada))
    site.now += seconds(20)
    site.coordinator.process_due()
    assert site.stopped == []  # past its deadline: an engine gives it up by itself
    (guidance,) = site.sent[2:]
    site.coordinator.submit(submitted(guidance))
    refinements = {step.participant: step for step in site.sent[3:]}
    site.coordinator.submit(submitted(refinements["ada"]))
    assert [answer.status for answer in site.answers] == ["answered"]
    assert stopped(site) == {"bo": (refinements["bo"].step_id,)}
    assert bo.step_id not in stopped(site)["bo"]


def test_a_participant_that_cannot_be_told_stops_no_query() -> None:
    site = Site()
    site.ask()
    site.broken["ada"] = TransientError("the broker is away")
    assert site.coordinator.cancel(CANCEL) == "cancelled"
    assert list(stopped(site)) == ["bo"]
    assert len(site.answers) == 1


def test_a_stop_covers_the_steps_that_it_names_or_all_of_its_query() -> None:
    some = CancelSteps(query_id=ID, step_ids=(f"{ID}.1.draft.ada.0",))
    assert some.covers(f"{ID}.1.draft.ada.0")
    assert not some.covers(f"{ID}.1.draft.ada.1")
    assert CancelSteps(query_id=ID).covers(f"{ID}.2.refine.bo.0")
    assert not CancelSteps(query_id=ID).covers(f"{ID}0.1.draft.ada.0")
