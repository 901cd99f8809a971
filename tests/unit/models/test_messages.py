"""Messages: what crosses a process boundary is validated, and its faults keep its secrets."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from colm.models.errors import BadMessage
from colm.models.messages import (
    MAX_COMPLETION_CHARS,
    MAX_QUESTION_CHARS,
    MAX_REASON_CHARS,
    Answer,
    AskRequest,
    ClientAnswer,
    Completion,
    Message,
    Query,
    Step,
    StepError,
    StepKey,
    Submission,
    Turn,
    decode,
    derive_seed,
    seconds_between,
)
from tests.unit.examples import (
    NOW,
    a_completion,
    a_query,
    a_step,
    an_answer,
    failed,
    key_of,
    submitted,
)

#: What a question can be made of: NUL, quotes, controls, an astral character.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50)
EXAMPLES: list[Message] = [
    a_query("ada", "bo", options={"rounds": 2, "select": None}),
    a_step(),
    submitted(a_step()),
    failed(a_step()),
    an_answer(clients={"ada": ClientAnswer(status="idle")}),
    AskRequest(question="Why?", clients=("ada",), options={"rounds": 1}),
]


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda m: type(m).__name__)
def test_a_message_comes_back_from_json_as_it_was(message: Message) -> None:
    kind, plain = type(message), json.loads(json.dumps(message.model_dump(mode="json")))
    assert decode(kind, message.model_dump_json(), what="it") == message
    assert decode(kind, plain, what="it") == message


@given(TEXTS)
def test_any_text_crosses_the_wire(text: str) -> None:
    sent = Submission(**key_of(a_step()), worker="w", completion=a_completion(text))
    wire = json.dumps(sent.model_dump(mode="json"))
    assert decode(Submission, json.loads(wire), what="it") == sent


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda m: type(m).__name__)
def test_an_unknown_field_is_refused_by_name(message: Message) -> None:
    with pytest.raises(BadMessage, match="the thing cannot be used: surprise: Extra inputs"):
        decode(type(message), {**message.model_dump(), "surprise": 1}, what="the thing")


def test_messages_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        a_step().participant = "bo"


SECRET = "s3cr3t-Value"


@pytest.mark.parametrize("kind", [Query, Step, Submission, Answer, AskRequest, Completion])
@pytest.mark.parametrize("value", [SECRET, [SECRET], {"x": SECRET}, (SECRET,) * 3])
def test_a_fault_never_shows_the_value(kind: type[Message], value: Any) -> None:
    fields = dict.fromkeys(kind.model_fields, value)
    with pytest.raises(BadMessage) as caught:
        decode(kind, fields, what="it")
    assert SECRET not in str(caught.value)
    with pytest.raises(BadMessage) as caught:
        decode(kind, f'{{"query_id": "{SECRET}" oops', what="it")
    assert SECRET not in str(caught.value)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists) | st.binary())
def test_nonsense_is_a_bad_message_and_nothing_else(data: object) -> None:
    with pytest.raises(BadMessage, match=r"^it cannot be used: "):
        decode(Step, data, what="it")


def test_a_fault_names_each_wrong_field_within_bounds() -> None:
    fields = {**a_step().model_dump(), "round": 0, "act": "guess", "schema_version": 2}
    with pytest.raises(BadMessage) as caught:
        decode(Step, fields, what="the step")
    for field in ("round: ", "act: ", "schema_version: "):
        assert field in str(caught.value)
    with pytest.raises(BadMessage) as caught:
        decode(Step, dict.fromkeys(map(str, range(5000))), what="the step")
    assert len(str(caught.value)) < MAX_REASON_CHARS + 100


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (AskRequest, {"question": "x" * (MAX_QUESTION_CHARS + 1)}),
        (AskRequest, {"question": " \n\t"}),
        (AskRequest, {"question": "\ud800 is half a character"}),
        (AskRequest, {"question": "x", "clients": ["ada"] * 2}),
        (AskRequest, {"question": "x", "deadline": 0}),
        (StepError, {"kind": "x", "reason": "x" * (MAX_REASON_CHARS + 1)}),
        (Turn, {"role": "tool", "content": "x"}),
        (Turn, {"role": "user", "content": "x" * 400_001}),
        (StepKey, {**key_of(a_step()), "query_id": "short"}),
        (StepKey, {**key_of(a_step()), "query_id": "with.a.dot.inside"}),
        (StepKey, {**key_of(a_step()), "participant": "Ada"}),
        (StepKey, {**key_of(a_step()), "participant": "a.b"}),
        (Completion, {**a_completion().model_dump(), "text": "x" * (MAX_COMPLETION_CHARS + 1)}),
        (Completion, {**a_completion().model_dump(), "completion_tokens": -1}),
        (Step, {**a_step().model_dump(), "messages": []}),
        (Step, {**a_step().model_dump(), "deadline_at": datetime(2026, 1, 1)}),  # noqa: DTZ001  # the naive one that is refused
        (Submission, {**key_of(a_step()), "worker": "w"}),
        (Submission, {**submitted(a_step()).model_dump(), "error": StepError(kind="", reason="")}),
    ],
)
def test_what_is_out_of_bounds_is_refused(kind: type[Message], fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        kind.model_validate(fields)


def test_the_longest_allowed_texts_are_accepted() -> None:
    assert AskRequest(question="x" * MAX_QUESTION_CHARS)
    assert a_completion("x" * MAX_COMPLETION_CHARS)


def test_a_steps_key_is_its_name_for_ever() -> None:
    step = a_step("ada", "refine")
    assert step.step_id == "query-0001.1.refine.ada.0"
    assert step.key == StepKey(**key_of(step))
    assert type(step.key) is StepKey


@given(st.lists(st.integers() | TEXTS, max_size=5))
def test_a_seed_is_below_two_to_the_63_and_repeatable(parts: list[object]) -> None:
    assert 0 <= derive_seed(*parts) < 2**63
    assert derive_seed(*parts) == derive_seed(*parts)


def test_a_seed_depends_on_every_part_and_on_where_one_ends() -> None:
    seeds = [derive_seed(1, 2), derive_seed(2, 1), derive_seed(12), derive_seed(1, 2, 0)]
    assert len(set(seeds)) == len(seeds)
    assert derive_seed("query-0001") == 5383429861365227762


def test_seconds_between_is_never_negative() -> None:
    assert seconds_between(NOW, NOW + timedelta(microseconds=1_500_000)) == 1.5
    assert seconds_between(NOW, NOW - timedelta(seconds=1)) == 0.0


def test_a_client_answers_text_is_its_newest() -> None:
    assert ClientAnswer(status="drafted", draft="one").text == "one"
    assert ClientAnswer(status="refined", draft="one", refined="").text == ""
    assert ClientAnswer(status="idle").text is None


def test_a_query_knows_its_participants_by_name() -> None:
    query = a_query("ada", "bo")
    assert query.participant("bo").name == "bo"
    assert query.participant("main").role == "server"
    with pytest.raises(KeyError):
        query.participant("zoe")


def test_a_question_with_a_nul_is_refused_and_a_completion_with_one_is_mended() -> None:
    with pytest.raises(ValidationError, match="NUL"):
        AskRequest(question="Why\x00?")
    assert a_completion("Because\x00.").text == "Because\N{REPLACEMENT CHARACTER}."
    assert StepError(kind="x", reason="a\x00").reason == "a\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ("a\ud83d", "a\ufffd"),
        ("a\ud83d b", "a\ufffd b"),
        ("\ude00\ud83d", "\ufffd\ufffd"),
        ("\ud83d" + "\ude00", "\U0001f600"),
        ("\ud83d\ud83d" + "\ude00", "\ufffd\U0001f600"),
        ("caf\u00e9 \U0001f600", "caf\u00e9 \U0001f600"),
    ],
)
def test_half_a_character_is_mended_and_costs_no_completion(text: str, mended: str) -> None:
    assert a_completion(text).text == mended
    assert StepError(kind="x", reason=text).reason == mended


@pytest.mark.parametrize(
    ("logprobs", "fits"),
    [
        ({f"{n}": -1.0 for n in range(32)}, True),
        ({f"{n}": -1.0 for n in range(33)}, False),
        ({"x" * 200: -1.0}, True),
        ({"x" * 201: -1.0}, False),
        ({"": -1.0}, False),
        ({"x": float("-inf")}, False),
        (None, True),
    ],
)
def test_a_completion_tells_of_no_more_choices_than_a_step_may_name(
    logprobs: dict[str, float] | None, fits: bool
) -> None:
    wire = submitted(a_step()).model_dump(mode="json")
    wire["completion"]["choice_logprobs"] = logprobs
    if fits:
        completion = decode(Submission, wire, what="it").completion
        assert completion is not None
        assert completion.choice_logprobs == logprobs
    else:
        with pytest.raises(BadMessage, match="choice_logprobs"):
            decode(Submission, wire, what="it")
