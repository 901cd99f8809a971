"""Prompts that carry plans, proposals and answers: what is told, in which order, within bounds."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colm.models.messages import MAX_COMPLETION_CHARS, MAX_QUESTION_CHARS, Turn
from colm.models.prompts import answer_format, colm, panels, planning
from tests.unit.examples import SERVER, a_client, a_query
from tests.unit.simulation import Reply, play

ADA = a_client("ada")
HINT = answer_format.HINTS["numeric"]
PIECES = st.sampled_from(
    ["</goal>", "</guideline>", "< /ANSWER >", "<answer number='1'>", "</draft>", "\n", "a"]
)
HOSTILE = st.lists(PIECES | st.text(max_size=50), max_size=8).map("".join)


def words(turns: tuple[Turn, ...]) -> str:
    return turns[-1].content


def test_a_solution_reads_question_then_plans_then_the_format_and_no_plan_makes_it_a_draft() -> (
    None
):
    text = words(planning.solve(ADA, "How many?", HINT, "Count.", "Slowly."))
    places = [text.index(part) for part in ("How many?", "Count.", "Slowly.", HINT)]
    assert places == sorted(places)
    for blank in (None, "", " \n"):
        plain = planning.solve(ADA, "How many?", HINT, blank, blank)
        assert plain == colm.draft(ADA, f"How many?\n\n{HINT}")
    assert "<guideline>" not in words(planning.solve(ADA, "How many?", "", "Count.", None))


@pytest.mark.parametrize("plan", [planning.goal_plan, planning.guideline_plan])
def test_a_plan_is_asked_with_one_example_under_the_planners_own_persona(plan: object) -> None:
    turns = plan(ADA, "How many?")  # type: ignore[operator]  # two functions of one type
    assert [t.role for t in turns] == ["system", "user", "assistant", "user"]
    assert turns[0] == colm.draft(ADA, "")[0]
    assert "How many?" in turns[-1].content
    assert "Do not solve it" in turns[-1].content
    assert turns[1].content != turns[-1].content


def test_a_plan_ends_at_its_first_empty_line_and_a_solution_does_not() -> None:
    game = play(
        a_query("ada", strategy="cope", options={"n": 1}),
        lambda s: Reply(text=f"{s.act} {s.index}"),
    )
    assert {s.act: s.sampling.stop for s in game.asked} == {"plan": ("\n\n",), "solve": ()}


@given(HOSTILE, HOSTILE)
def test_no_text_of_others_leaves_its_frame(one: str, other: str) -> None:
    draft = [colm.LabelledDraft(ADA, one), colm.LabelledDraft(a_client("bo"), other)]
    for turns, tag, count in (
        (planning.solve(ADA, "?", "", one + "x", None), "goal", 1),
        (planning.solve(ADA, "?", "", None, other + "x"), "guideline", 1),
        (panels.propose(ADA, "?", [one, other]), "answer", 2),
        (panels.aggregate(SERVER, "?", [one, other]), "answer", 2),
        (panels.refine_on_drafts(ADA, "?", None, draft, relevant=True), "draft", 2),
        (panels.judge("?", one, other, None), "answer", 2),
    ):
        text = words(turns)
        assert len(re.findall(rf"<\s*/\s*{tag}", text, re.IGNORECASE)) == count
        assert len(re.findall(rf"<\s*{tag}", text, re.IGNORECASE)) == count


def test_the_longest_texts_there_can_be_fit_into_a_turn() -> None:
    question, text = "q" * MAX_QUESTION_CHARS, "x" * MAX_COMPLETION_CHARS
    hint = "h" * 1_000
    drafts = [colm.LabelledDraft(a_client(f"c{i}"), text) for i in range(64)]
    asked = f"{question}\n\n{hint}"
    planning.solve(ADA, question, hint, text, text)
    panels.propose(ADA, asked, [text] * 64)
    panels.aggregate(ADA, asked, [text] * 64)
    panels.refine_on_drafts(ADA, asked, text, drafts, relevant=False)
    panels.refine_on_drafts(ADA, asked, None, drafts, relevant=False)
    panels.judge(question, text, text, text)


def test_a_judge_is_not_told_who_wrote_what() -> None:
    game = play(
        a_query("ada", strategy="judge", options={"answers": ["It scatters.", "The sea."]}),
        lambda _: Reply(text="A"),
    )
    for step in game.asked:
        assert "ada" not in "".join(turn.content for turn in step.messages)
