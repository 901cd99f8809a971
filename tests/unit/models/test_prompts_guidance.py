"""The other forms of CoLM's prompts: an answer as guidance, and the question once more."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colm.models.messages import Step
from colm.models.prompts import colm, colm_restated
from colm.models.prompts.colm import LabelledDraft
from colm.models.texts import is_blank
from tests.unit.examples import QUESTION, SERVER, a_client, a_query
from tests.unit.simulation import Reply, answering, play

PIECES = st.sampled_from(["</draft>", "< /NOTE >", "<draft by='x'>", "</note>", "<", "a"])
HOSTILE = st.lists(PIECES | st.text(max_size=80), max_size=8).map("".join)
ADA = a_client("ada")


def tags(name: str, text: str) -> list[str]:
    return re.findall(rf"<\s*(/?)\s*{name}", text, flags=re.IGNORECASE)


@given(st.lists(HOSTILE, min_size=1, max_size=4), st.none() | st.just("mine"))
def test_no_draft_can_end_its_frame_or_open_another(texts: list[str], own: str | None) -> None:
    drafts = [LabelledDraft(a_client(f"client{i}"), text) for i, text in enumerate(texts)]
    told = colm_restated.synthesize(ADA, drafts, "Why?", own)[-1].content
    assert tags("draft", told) == ["", "/"] * len(texts)


@given(HOSTILE, st.none() | st.text(max_size=80), st.sampled_from([None, True, False]))
def test_no_guidance_can_end_its_frame_and_the_question_comes_last(
    guidance: str, own: str | None, relevant: bool | None
) -> None:
    turns = colm_restated.refine(ADA, "Why?", own, guidance, relevant=relevant)
    assert tags("note", turns[-1].content) == ["", "/"]
    assert turns[-1].content.endswith("\n\nWhy?")
    assert ("field" in turns[-1].content.rpartition("</note>")[2]) == (relevant is not None)


@given(st.text(max_size=80), st.text(max_size=80).filter(lambda own: not is_blank(own)))
def test_a_refinement_begins_with_the_drafts_prompt_and_the_draft_itself(
    question: str, own: str
) -> None:
    asked = colm.draft(ADA, question)
    turns = colm_restated.refine(ADA, question, own, "note", relevant=None)
    assert turns[: len(asked)] == asked
    assert (turns[len(asked)].role, turns[len(asked)].content) == ("assistant", own)


def test_the_server_sees_the_question_only_if_it_is_given() -> None:
    drafts = [LabelledDraft(ADA, "it scatters")]
    for own in (None, "mine"):
        seen = colm_restated.synthesize(SERVER, drafts, QUESTION, own)
        assert any(QUESTION in turn.content for turn in seen)
        assert "never an instruction" in seen[-1].content
    hidden = colm_restated.synthesize(SERVER, drafts, None, None)
    assert all(QUESTION not in turn.content for turn in hidden)


def test_a_server_that_has_answered_reads_the_drafts_after_its_own() -> None:
    turns = colm_restated.synthesize(SERVER, [LabelledDraft(ADA, "theirs")], "Why?", "mine")
    asked = colm.draft(SERVER, "Why?")
    assert turns[: len(asked)] == asked
    assert (turns[len(asked)].role, turns[len(asked)].content) == ("assistant", "mine")
    assert "theirs" in turns[-1].content


@pytest.mark.parametrize("guidance", ["note", "answer"])
@pytest.mark.parametrize("restate", [True, False])
def test_each_form_is_used_where_its_option_says_so_and_recorded(
    guidance: str, restate: bool
) -> None:
    options = {"rounds": 2, "guidance": guidance, "restate": restate}
    game = play(a_query("ada", "bo", options=options))

    assert game.who("draft", 1) == ["ada", "bo"] + ["main"] * (guidance == "answer")
    for step in game.steps("synthesize"):
        own = [turn.content for turn in step.messages if turn.role == "assistant"]
        assert own == ["draft 1 of main"] * (guidance == "answer")
        assert (step.prompt_version == colm_restated.VERSION) == (guidance == "answer")
    for step in game.steps("refine"):
        assert (QUESTION in step.messages[-1].content) == restate
        assert (step.prompt_version == colm_restated.VERSION) == restate
        assert ("field" in step.messages[-1].content) != restate


def test_the_servers_own_draft_is_no_clients_and_is_not_needed() -> None:
    def reply(step: Step) -> Reply:
        lost = step.role == "server" and step.act == "draft"
        return Reply(error="no memory") if lost else answering(step)

    game = play(a_query("ada", "bo", options={"rounds": 1, "guidance": "answer"}), reply)

    assert set(game.answer.clients) == {"ada", "bo"}
    (guidance,) = game.answer.guidance
    assert guidance.drafts_of == ("ada", "bo")
    (synthesis,) = game.steps("synthesize")
    assert all(turn.role != "assistant" for turn in synthesis.messages)
    assert all(client.status == "refined" for client in game.answer.clients.values())


def test_too_few_clients_are_not_made_up_for_by_the_server() -> None:
    def reply(step: Step) -> Reply:
        return answering(step) if step.role == "server" else Reply(error="no memory")

    game = play(a_query("ada", "bo", options={"rounds": 1, "guidance": "answer"}), reply)

    assert game.answer.status == "failed"
    assert not game.steps("synthesize")


@pytest.mark.parametrize(
    "options", [{"server_sees_question": False}, {"synthesis": False}, {"guidance": "note"}]
)
def test_who_cannot_use_an_answer_of_its_own_is_not_asked_for_one(options: dict[str, Any]) -> None:
    game = play(a_query("ada", "bo", options={"rounds": 1, "guidance": "answer", **options}))

    assert game.who("draft", 1) == ["ada", "bo"]
    assert game.answer.status == "answered"


def test_who_was_selected_is_told_so_in_the_restated_form_too() -> None:
    game = play(
        a_query("ada", "bo", options={"rounds": 1, "select": 1, "restate": True}),
        lambda step: Reply(text="bo") if step.act == "select" else answering(step),
    )

    told = {step.participant: step.messages[-1].content for step in game.steps("refine")}
    assert "Your own field matters" in told["bo"]
    assert "outside your own field" in told["ada"]
