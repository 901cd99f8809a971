"""A dead letter is read however broken it is, and its query goes on or fails."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu import Connection, Message, Queue

from colm.models.dead_letter import DeadLetter
from colm.models.errors import ColmError, NoConsumer, Overloaded, TransientError
from colm.models.messages import MAX_QUESTION_CHARS, Step
from colm.tasks.broker.dead_letter_origin import DeadLetterOrigin, parse_x_death
from colm.tasks.broker.topology import DEAD, Topology
from colm.tasks.config.settings import BrokerLimits
from colm.tasks.rejection import KEPT_BODY
from colm.workers.consumer.dead_message import read_letter, read_step, resolve
from colm.workers.coordinator.dead_letters import TRIES, DeadLetterReader, dead_step
from colm.workers.coordinator.parking_lot import HEALED
from tests.unit.coordination_site import ID, Site
from tests.unit.examples import NOW, QUESTION, a_step


@pytest.fixture
def site() -> Site:
    return Site()


def body_of(step: Step) -> str:
    return json.dumps([[], {"step": step.model_dump(mode="json")}, {"callbacks": None}])


def headers_of(step: Step, reason: str = "delivery_limit") -> dict[str, Any]:
    death = {"queue": f"colm.draft.{step.participant}", "reason": reason, "count": 6}
    return {"id": step.step_id, "task": f"colm.{step.act}", "x-death": [death]}


TOPOLOGY = Topology(limits=BrokerLimits(), clients=("ada", "bo"), servers=("main",))


def settled(site: Site, headers: dict[str, Any], body: str) -> DeadLetter:
    origin = parse_x_death(DEAD, "any", headers)
    letter = read_letter(headers, body, origin, NOW)
    resolve(letter, dead_step(body, origin, TOPOLOGY), site.coordinator)
    return letter


def letter_of(headers: dict[str, Any], body: str, at: datetime = NOW) -> DeadLetter:
    return read_letter(headers, body, parse_x_death(DEAD, "any", headers), at)


def test_a_dead_step_is_read_with_its_query_its_queue_and_the_reason_in_words() -> None:
    letter = letter_of(headers_of(a_step()), body_of(a_step()))
    assert letter == DeadLetter(
        message_id="query-0001.1.draft.ada.0",
        task="colm.draft",
        queue="colm.draft.ada",
        reason="delivery_limit: it was redelivered too often: a worker died or returned it every "
        "time",
        at=NOW,
        body=body_of(a_step()),
        query_id="query-0001",
        step_id="query-0001.1.draft.ada.0",
    )


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("rejected", "rejected: a worker rejected it"),
        ("maxlen", "maxlen: its queue was full"),
        ("expired", "expired: it expired in its queue"),
        ("something new", "something new"),
    ],
)
def test_the_reason_is_told_in_words(code: str, reason: str) -> None:
    assert letter_of(headers_of(a_step(), code), "").reason == reason


DEAD_ASK = {
    "id": ID,
    "task": "colm.ask",
    "x-death": [{"queue": "colm.ask", "reason": "rejected", "exchange": "colm.ask"}],
}


def test_a_dead_ask_is_its_query() -> None:
    letter = letter_of({**DEAD_ASK, "id": ID}, json.dumps([["Why?"], {}, {}]))
    assert (letter.query_id, letter.step_id) == (ID, None)


def test_letters_without_an_id_are_not_taken_for_one_another() -> None:
    later = datetime(2026, 3, 2, tzinfo=UTC)
    for headers in ({}, {"id": None}, {"id": ""}):
        ids = {letter_of(headers, "", at).message_id for at in (NOW, later)}
        assert len(ids) == 2


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
HEADERS = st.dictionaries(st.sampled_from(["id", "task", "x-death", "lang"]), JSON)
KEYS = st.sampled_from([*Step.model_fields, "surprise"])
#: Bodies that are nearly a step.
NEARLY = st.builds(
    lambda key, value: json.dumps([[], {"step": {**a_step().model_dump(mode="json"), key: value}}]),
    KEYS,
    JSON,
)
BODIES = st.text() | JSON.map(json.dumps) | NEARLY


@given(HEADERS, BODIES)
def test_no_letter_is_too_broken_to_be_read_and_settled(headers: dict[str, Any], body: str) -> None:
    site = Site()
    site.ask()
    letter = settled(site, headers, body)
    assert letter.message_id
    assert len(letter.body) <= KEPT_BODY
    if read_step(body) is None:
        assert all(state.open for state in site.record.lives[ID].steps.values())


@pytest.mark.parametrize(
    "body",
    ["[" * 100_000, "9" * 10_000, '"\\ud800"', '[[], {"step": "x"}]', '[[], {"step": [1]}]', "[]"],
)
def test_hostile_json_holds_no_step(body: str) -> None:
    assert read_step(body) is None


def test_a_query_goes_on_without_a_dead_step(site: Site) -> None:
    site.ask(strategy="single")
    (step,) = site.sent
    settled(site, headers_of(step), body_of(step))
    assert "dead_lettered: delivery_limit" in str(site.answers[0].reason)


def test_a_step_with_a_long_prompt_is_settled_though_its_letter_keeps_only_the_beginning(
    site: Site,
) -> None:
    site.coordinator.accept(ID, "x" * MAX_QUESTION_CHARS, {"strategy": "single"})
    (step,) = site.sent
    letter = settled(site, headers_of(step), body_of(step))
    assert len(letter.body) == KEPT_BODY
    assert [answer.status for answer in site.answers] == ["failed"]


def test_a_dead_ask_is_refused_so_that_its_caller_hears_of_it(site: Site) -> None:
    settled(site, DEAD_ASK, "")
    assert "the ask was dead-lettered: rejected" in site.record.refused[ID].reason


def test_a_dead_ask_of_a_query_that_runs_changes_nothing(site: Site) -> None:
    site.ask()
    settled(site, DEAD_ASK, "")
    assert site.record.refused == {}


def test_what_only_says_that_it_is_an_ask_refuses_nobody(site: Site) -> None:
    """A participant may submit anything, and the coordinators reject it."""
    death = {"queue": "colm.submissions", "reason": "rejected", "routing-keys": ["draft.ada"]}
    settled(site, {"id": ID, "task": "colm.ask", "x-death": [death]}, "")
    assert site.record.refused == {}


def test_a_participant_cannot_fail_a_step_by_submitting_it(site: Site) -> None:
    site.ask(strategy="single", participant="bo")
    (step,) = site.sent
    death = {"queue": "colm.submissions", "reason": "rejected", "routing-keys": ["draft.ada"]}
    for task in ("colm.submit", "colm.draft", "colm.ask"):
        headers = {"id": step.step_id, "task": task, "x-death": [death]}
        letter = settled(site, headers, body_of(step))
        assert letter.message_id == f"draft.ada:{step.step_id}"  # nor occupy its letter
    assert all(state.open for state in site.record.lives[ID].steps.values())


def test_what_came_by_the_alternate_exchange_has_no_death_to_believe() -> None:
    origin = parse_x_death("colm.steps", "draft.bo", headers_of(a_step()))
    assert (origin.queue, origin.exchange, origin.routing_key) == (None, "colm.steps", "draft.bo")
    assert origin.reason == "unroutable: no queue reads 'draft.bo' on colm.steps"


def test_a_step_that_no_queue_took_fails(site: Site) -> None:
    site.ask(strategy="single")
    (step,) = site.sent
    origin = parse_x_death("colm.steps", "draft.ada", {})
    letter = read_letter(headers_of(step), body_of(step), origin, NOW)
    resolve(letter, dead_step(body_of(step), origin, TOPOLOGY), site.coordinator)
    assert "unroutable" in str(site.answers[0].reason)


def test_a_dead_step_of_no_query_is_only_kept(site: Site) -> None:
    letter = settled(site, headers_of(a_step()), body_of(a_step()))
    assert letter.step_id == a_step().step_id
    assert site.record.lives == {}


def test_a_dead_submission_settles_nothing(site: Site) -> None:
    site.ask()
    settled(site, {"id": "x.submit", "task": "colm.submit"}, '[[], {"submission": {}}, {}]')
    assert all(state.open for state in site.record.lives[ID].steps.values())


class Notes:
    """Stands where letters are parked, and notes what else had been done by then."""

    def __init__(self, site: Site, *, heals: bool = False, fails: bool = False) -> None:
        self.site, self.heals, self.fails = site, heals, fails
        self.done = list[tuple[str, list[str]]]()

    def park(self, _message: Message, letter: str, _origin: DeadLetterOrigin) -> None:
        self.done.append((f"park {letter}", list(self.site.record.letters)))
        if self.fails:
            raise NoConsumer("colm.parked is gone")

    def redeliver(self, queue: Queue, _message: Message, _origin: DeadLetterOrigin) -> bool:
        self.done.append((f"deliver to {queue.name}", list(self.site.record.letters)))
        return self.heals

    def ack(self) -> None:
        self.done.append(("ack", list(self.site.record.letters)))


def reading(site: Site, notes: Any) -> DeadLetterReader:
    return DeadLetterReader(Connection("memory://"), TOPOLOGY, site.coordinator, site.record, notes)


@pytest.mark.parametrize("body", [body_of(a_step()).encode(), body_of(a_step()), b"\xff", None])
def test_a_letter_is_recorded_then_parked_then_acked(site: Site, body: bytes | str | None) -> None:
    site.coordinator.accept(ID, QUESTION, {"strategy": "single"})
    notes = Notes(site)
    message: Any = SimpleNamespace(
        headers=headers_of(a_step()), body=body, ack=notes.ack, delivery_info={"exchange": DEAD}
    )
    reading(site, notes)._on_message(message)
    known = [a_step().step_id]
    assert notes.done == [(f"park {a_step().step_id}", known), ("ack", known)]
    whole = body is not None and body != b"\xff"
    assert bool(site.answers) == whole


@pytest.mark.parametrize("heals", [True, False])
def test_a_message_whose_queue_was_deleted_goes_on_or_becomes_a_letter(
    site: Site, heals: bool
) -> None:
    notes = Notes(site, heals=heals)
    message: Any = SimpleNamespace(
        headers={"id": "x.submit", "task": "colm.submit"}, body=b"", ack=notes.ack,
        delivery_info={"exchange": "colm.drafts", "routing_key": "draft.ada"},
    )  # fmt: skip
    reading(site, notes)._on_message(message)
    done = [what for what, _ in notes.done]
    if heals:
        assert done == ["deliver to colm.submissions", "ack"]
        assert site.record.letters == {}
    else:
        assert done == ["deliver to colm.submissions", "park x.submit", "ack"]
        assert "unroutable" in site.record.letters["x.submit"].reason
    message.headers[HEALED] = "yes"
    notes.done.clear()
    reading(site, notes)._on_message(message)
    assert [what for what, _ in notes.done] == ["park x.submit", "ack"]  # once, and no more


def a_message(notes: Notes, **changes: Any) -> Any:
    fields = {
        "headers": headers_of(a_step()), "body": body_of(a_step()).encode(), "ack": notes.ack,
        "delivery_info": {"exchange": DEAD},
    }  # fmt: skip
    return SimpleNamespace(**(fields | changes))


def test_a_letter_that_cannot_be_parked_or_recorded_is_settled_and_keeps_no_other(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.coordinator.accept(ID, QUESTION, {"strategy": "single"})
    notes = Notes(site, fails=True)
    reader = reading(site, notes)
    reader._on_message(a_message(notes))
    assert [what for what, _ in notes.done][-1] == "ack"  # it is in the record
    assert [answer.status for answer in site.answers] == ["failed"]

    def unrecordable(_letter: DeadLetter) -> None:
        raise ValueError("cannot be recorded")

    monkeypatch.setattr(site.record, "add_dead_letter", unrecordable)
    notes.done.clear()
    for _ in range(TRIES - 1):
        with pytest.raises(ColmError, match="neither recorded nor parked"):
            reader._on_message(a_message(notes))
    reader._on_message(a_message(notes))
    assert [what for what, _ in notes.done].count("ack") == 1


def test_a_letter_whose_step_cannot_be_settled_is_kept_all_the_same(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.coordinator.accept(ID, QUESTION, {"strategy": "single"})

    def broken(_query: str) -> None:
        raise ValueError("cannot be recorded")

    monkeypatch.setattr(site.record, "open", broken)
    notes = Notes(site)
    reading(site, notes)._on_message(a_message(notes))
    assert [what for what, _ in notes.done] == [f"park {a_step().step_id}", "ack"]
    assert list(site.record.letters) == [a_step().step_id]


def test_a_letter_waits_for_a_database_that_is_away(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_letter: DeadLetter) -> None:
        raise TransientError("away")

    monkeypatch.setattr(site.record, "add_dead_letter", away)
    monkeypatch.setattr("colm.tasks.broker.retry.GIVE_UP_AFTER", 0.0)
    notes = Notes(site)
    with pytest.raises(TransientError):
        reading(site, notes)._on_message(a_message(notes))
    assert "ack" not in [what for what, _ in notes.done]


def test_a_message_whose_queue_is_back_and_full_becomes_a_letter_like_any_other(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = Notes(site)

    def full(*_: object) -> bool:
        raise Overloaded("full")

    monkeypatch.setattr(notes, "redeliver", full)
    delivery = {"exchange": "colm.drafts", "routing_key": "draft.ada"}
    told = a_message(notes, headers={"id": "x", "task": "colm.submit"}, delivery_info=delivery)
    reading(site, notes)._on_message(told)
    assert [what for what, _ in notes.done] == ["park x", "ack"]
