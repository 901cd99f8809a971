"""A dead letter is read however broken it is, and its query goes on or fails."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu import Connection

from models.messages import MAX_QUESTION_CHARS, Step
from tasks.ports import DeadLetter
from tasks.queries import KEPT_BODY
from tasks.settings import BrokerLimits
from tasks.topology import Topology
from tests.unit.coordination_site import ID, Site
from tests.unit.examples import NOW, QUESTION, a_step
from workers.dead_letters import DeadLetterReader, read_letter, read_step, settle


@pytest.fixture
def site() -> Site:
    return Site()


def body_of(step: Step) -> str:
    return json.dumps([[], {"step": step.model_dump(mode="json")}, {"callbacks": None}])


def headers_of(step: Step, reason: str = "delivery_limit") -> dict[str, Any]:
    death = {"queue": f"colm.draft.{step.participant}", "reason": reason, "count": 6}
    return {"id": step.step_id, "task": f"colm.{step.act}", "x-death": [death]}


def settled(site: Site, headers: dict[str, Any], body: str) -> DeadLetter:
    letter = read_letter(headers, body, NOW)
    settle(letter, read_step(body), site.coordinator)
    return letter


def test_a_dead_step_is_read_with_its_query_its_queue_and_the_reason_in_words() -> None:
    letter = read_letter(headers_of(a_step()), body_of(a_step()), NOW)
    assert letter == DeadLetter(
        message_id="query-0001.1.draft.ada.0",
        task="colm.draft",
        queue="colm.draft.ada",
        reason="delivery_limit: it was delivered too often: a worker died or gave it back every "
        "time",
        at=NOW,
        body=body_of(a_step()),
        query_id="query-0001",
        step_id="query-0001.1.draft.ada.0",
    )


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("rejected", "rejected: a worker refused it"),
        ("maxlen", "maxlen: its queue was full"),
        ("expired", "expired: nobody took it in time"),
        ("something new", "something new"),
    ],
)
def test_the_reason_is_told_in_words(code: str, reason: str) -> None:
    assert read_letter(headers_of(a_step(), code), "", NOW).reason == reason


def test_a_dead_ask_is_its_query() -> None:
    letter = read_letter({"id": ID, "task": "colm.ask"}, json.dumps([["Why?"], {}, {}]), NOW)
    assert (letter.query_id, letter.step_id) == (ID, None)


def test_letters_without_an_id_are_not_taken_for_one_another() -> None:
    later = datetime(2026, 3, 2, tzinfo=UTC)
    for headers in ({}, {"id": None}, {"id": ""}):
        ids = {read_letter(headers, "", at).message_id for at in (NOW, later)}
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
    settled(site, {"id": ID, "task": "colm.ask", "x-death": [{"reason": "rejected"}]}, "")
    assert "the ask was dead-lettered: rejected" in site.record.refused[ID].reason


def test_a_dead_ask_of_a_query_that_runs_changes_nothing(site: Site) -> None:
    site.ask()
    settled(site, {"id": ID, "task": "colm.ask"}, "")
    assert site.record.refused == {}


def test_a_dead_step_of_no_query_is_only_kept(site: Site) -> None:
    letter = settled(site, headers_of(a_step()), body_of(a_step()))
    assert letter.step_id == a_step().step_id
    assert site.record.lives == {}


def test_a_dead_submission_settles_nothing(site: Site) -> None:
    site.ask()
    settled(site, {"id": "x.submit", "task": "colm.submit"}, '[[], {"submission": {}}, {}]')
    assert all(state.open for state in site.record.lives[ID].steps.values())


@pytest.mark.parametrize("body", [body_of(a_step()).encode(), body_of(a_step()), b"\xff", None])
def test_a_letter_is_acked_after_it_is_on_the_record(site: Site, body: bytes | str | None) -> None:
    site.coordinator.accept(ID, QUESTION, {"strategy": "single"})
    reader = DeadLetterReader(
        Connection("memory://"),
        Topology(limits=BrokerLimits(), clients=(), servers=()).dead(),
        site.coordinator,
        site.record,
    )
    acked_after: list[list[str]] = []
    message: Any = SimpleNamespace(
        headers=headers_of(a_step()),
        body=body,
        ack=lambda: acked_after.append(list(site.record.letters)),
    )
    reader._on_message(message)
    assert acked_after == [[a_step().step_id]]
    whole = body is not None and body != b"\xff"
    assert bool(site.answers) == whole
