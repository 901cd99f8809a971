"""CoLM's ablations: what each leaves out, and that it leaves out nothing else."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colm.models.answers.selection import select_answer, select_by_keywords
from colm.models.errors import InvalidAsk
from colm.models.messages import Participant, Query, Step
from colm.models.strategies import STRATEGIES
from tests.unit.examples import QUESTION, a_query
from tests.unit.simulation import Reply, answering, play


def a_colm(*clients: str, **options: Any) -> Query:
    return a_query(*(clients or ("ada", "bo", "cy")), options={"rounds": 2, **options})


# No refinement


def test_without_refinement_the_guidance_is_the_answer_and_the_drafts_are_kept() -> None:
    game = play(a_colm(refine=False))
    assert Counter(s.act for s in game.asked) == {"draft": 3, "synthesize": 1}
    answer = game.answer
    assert (answer.answer, answer.chosen) == ("synthesize 1 of main", "main")
    assert {c.status for c in answer.clients.values()} == {"drafted"}
    assert not answer.degraded


def test_the_server_is_told_the_format_only_where_its_note_is_the_answer() -> None:
    for refine in (True, False):
        game = play(a_colm(refine=refine, format_hint="In one word."))
        prompt = game.steps("synthesize", 1)[0].messages[-1].content
        assert ("In one word." in prompt) == (not refine)


def test_without_refinement_and_guidance_a_draft_is_the_answer() -> None:
    def reply(step: Step) -> Reply:
        return Reply(error="no memory") if step.act == "synthesize" else answering(step)

    answer = play(a_colm(refine=False), reply).answer
    assert answer.chosen in ("ada", "bo", "cy")
    assert answer.degraded


# No synthesis


def test_without_synthesis_each_client_refines_on_the_drafts_of_the_others() -> None:
    game = play(a_colm(synthesis=False))
    assert Counter((s.act, s.round) for s in game.asked) == {
        ("draft", 1): 3, ("refine", 1): 3, ("refine", 2): 3,
    }  # fmt: skip
    for round, before in ((1, "draft 1"), (2, "refine 1")):
        for step in game.steps("refine", round):
            told = step.messages[-1].content
            others = {"ada", "bo", "cy"} - {step.participant}
            assert all(f"{before} of {name}" in told for name in others)
            assert f"{before} of {step.participant}" not in told
            assert step.messages[-2].content == f"{before} of {step.participant}"
    assert game.answer.guidance == ()
    assert {c.status for c in game.answer.clients.values()} == {"refined"}


def test_a_client_that_does_not_see_its_own_draft_apart_sees_all_drafts() -> None:
    game = play(a_colm(synthesis=False, client_sees_own_draft=False, rounds=1))
    for step in game.steps("refine"):
        assert all(f"draft 1 of {name}" in step.messages[-1].content for name in ("ada", "bo"))
        assert [t.role for t in step.messages] == ["system", "user"]


def test_without_synthesis_no_server_is_needed_unless_it_selects() -> None:
    colm = STRATEGIES["colm"]
    alone = a_colm(synthesis=False).model_copy(update={"server": None})
    colm.check(alone)
    assert play(alone).answer.status == "answered"
    colm.check(
        a_colm(synthesis=False, select=1, selector="keywords").model_copy(update={"server": None})
    )
    selecting = a_colm(synthesis=False, select=1).model_copy(update={"server": None})
    with pytest.raises(InvalidAsk, match="needs a server"):
        colm.check(selecting)


def test_one_client_without_synthesis_reads_its_own_draft_again() -> None:
    game = play(a_colm("ada", synthesis=False, rounds=1))
    assert "draft 1 of ada" in game.steps("refine")[0].messages[-1].content


def test_without_both_the_drafts_are_all_there_is() -> None:
    game = play(a_colm(refine=False, synthesis=False))
    assert {s.act for s in game.asked} == {"draft"}
    assert game.answer.chosen in ("ada", "bo", "cy")


# Selection by keywords

ABOUT = {
    "ada": "mathematics and logic. You are a careful mathematician who checks every step.",
    "bo": "engineering. You are a practical engineer who looks for what works.",
    "cy": "natural science. You are a curious scientist who asks what the evidence says.",
}


@pytest.mark.parametrize(
    ("question", "k", "names"),
    [
        ("Which mathematical proof needs logic?", 1, ["ada"]),
        ("How do engineers test works of nature?", 2, ["bo", "cy"]),
        ("Is there scientific evidence?", 2, ["cy"]),  # too few are taken as they are
        ("What is the capital of France?", 1, []),  # stop words are no ground
        ("", 1, []),
    ],
)
def test_keywords_select_the_clients_whose_field_is_named(
    question: str, k: int, names: list[str]
) -> None:
    selection = select_by_keywords(question, ABOUT, k)
    assert sorted(selection.names) == sorted(names)
    assert selection.remark.startswith("refused" if not names else "by keywords: ")


@given(st.text(max_size=80), st.dictionaries(st.sampled_from("abcd"), st.text(max_size=60)))
def test_keywords_never_select_too_many_or_a_stranger(question: str, about: dict[str, str]) -> None:
    selection = select_by_keywords(question, about, 2)
    assert len(selection.names) <= 2
    assert set(selection.names) <= set(about)
    assert selection == select_by_keywords(question, about, 2)


def a_field(name: str, domain: str) -> Participant:
    return Participant(name=name, role="client", domain=domain)


def test_selected_by_keywords_a_client_drafts_alone_and_no_server_is_asked() -> None:
    clients = [a_field("ada", "optics, why the sky is blue"), a_field("bo", "the history of Rome")]
    query = a_query(clients=clients, options={"select": 1, "selector": "keywords", "rounds": 1})
    game = play(query)
    assert game.who("select") == []
    assert game.who("draft") == ["ada"]
    assert game.who("refine") == ["ada", "bo"]
    assert "outside your own field" in game.steps("refine")[1].messages[-1].content
    assert game.answer.selected == ("ada",)
    (decision,) = [d for d in game.life.decisions if d.kind == "selection"]
    assert decision.detail["selector"] == "keywords"


def test_where_no_keyword_fits_every_client_drafts_and_the_answer_says_why() -> None:
    clients = [a_field("ada", "opera"), a_field("bo", "Rome")]
    game = play(a_query(clients=clients, options={"select": 1, "selector": "keywords"}))
    assert QUESTION == "Why is the sky blue?"
    assert game.who("draft") == ["ada", "bo"]
    assert "no client shares a word" in game.answer.notes[0]


# The chosen answer


def test_with_a_kind_the_most_frequent_answer_is_chosen() -> None:
    texts = {
        "ada": "The blue light of the sky. Answer: 4",
        "bo": "Something else entirely: Answer: 7",
        "cy": "The blue light of the sky. Answer: 4.00",
        "di": "The blue light of the sky, I say. Answer: 5",
    }
    choice = select_answer(texts, "numeric")
    assert choice.name in ("ada", "cy")
    assert "2 of 4" in choice.because


def test_without_a_majority_or_an_answer_the_most_central_text_is_chosen() -> None:
    texts = {"ada": "Answer: 1", "bo": "Answer: 2 and more", "cy": "Answer: 3 and more"}
    assert select_answer(texts, "numeric").name in ("bo", "cy")
    none = select_answer({"ada": "no idea", "bo": "no idea at all", "cy": "well"}, "numeric")
    assert none.name == "ada"
    assert "none holds an answer" in none.because
