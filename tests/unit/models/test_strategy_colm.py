"""The strategy `colm` when everybody answers: Algorithm 1 of arXiv 2511.06991, call by call."""

from __future__ import annotations

from collections import Counter

import pytest

from colm.models.messages import Step, derive_seed
from colm.models.prompts import colm, colm_restated
from colm.models.strategies.base import Ask, Finish, Wait
from tests.unit.examples import NOW, QUESTION, SERVER, a_client, a_query, seconds
from tests.unit.simulation import Reply, Script, answering, play


def selecting(*names: str) -> dict[str, str]:
    return {"select": ", ".join(names)}


def script(**by_act: str) -> Script:
    """Reply with `by_act` where it names the act, else with something of one's own."""

    def reply(step: Step) -> Reply:
        text = by_act.get(step.act)
        return Reply(text=text) if text is not None else answering(step)

    return reply


def test_two_of_four_clients_and_two_rounds_are_the_papers_thirteen_calls() -> None:
    query = a_query("ada", "bo", "cy", "di", options={"select": 2, "rounds": 2})
    game = play(query, script(**selecting("di", "bo")))
    calls = Counter(step.act for step in game.asked)
    assert calls == {"select": 1, "draft": 2, "synthesize": 2, "refine": 8}
    assert len(game.asked) == 13


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_every_round_is_one_synthesis_and_one_refinement_by_each_client(rounds: int) -> None:
    game = play(a_query("ada", "bo", "cy", options={"rounds": rounds}))
    assert [s.act for s in game.asked].count("draft") == 3
    for round in range(1, rounds + 1):
        assert game.who("synthesize", round) == ["main"]
        assert game.who("refine", round) == ["ada", "bo", "cy"]
    assert len(game.asked) == 3 + rounds * 4
    assert game.answer.rounds == rounds


def test_without_selection_every_client_drafts_at_once() -> None:
    game = play(a_query("ada", "bo", "cy"))
    first = game.moves[0][1]
    assert isinstance(first, Ask)
    assert [(s.act, s.participant) for s in first.steps] == [
        ("draft", "ada"), ("draft", "bo"), ("draft", "cy"),
    ]  # fmt: skip


def test_selecting_all_clients_asks_nobody_to_select() -> None:
    game = play(a_query("ada", "bo", options={"select": 2}))
    assert game.who("select") == []
    assert game.answer.selected is None


def test_only_the_selected_draft_and_everybody_refines_with_the_hint_that_fits() -> None:
    query = a_query("ada", "bo", "cy", options={"select": 1, "rounds": 1})
    game = play(query, script(**selecting("bo")))
    assert game.who("draft") == ["bo"]
    assert game.who("refine") == ["ada", "bo", "cy"]
    hints = {s.participant: s.messages[-1].content for s in game.steps("refine")}
    assert "Your own field matters" in hints["bo"]
    assert "outside your own field" in hints["ada"]
    assert "outside your own field" in hints["cy"]
    assert game.answer.selected == ("bo",)


def test_a_refine_prompt_ends_with_the_question_unless_the_query_says_otherwise() -> None:
    for options, ends in (({}, True), ({"restate": False}, False)):
        game = play(a_query("ada", "bo", options=options))
        asked = [step.messages[-1].content for step in game.steps("refine")]
        assert all(told.endswith(QUESTION) == ends for told in asked)
        assert all(("Your field matters" in told) != ends for told in asked)


def test_a_drafts_prompt_knows_nothing_of_the_other_clients() -> None:
    game = play(a_query("ada", "bo"))
    for step in game.steps("draft"):
        assert step.messages == colm.draft(a_client(step.participant), QUESTION)


def test_the_server_reads_the_drafts_of_the_panel_and_then_the_refinements() -> None:
    game = play(a_query("ada", "bo", options={"rounds": 2}))
    first, second = (s.messages[-1].content for s in game.steps("synthesize"))
    assert "draft 1 of ada" in first
    assert "draft 1 of bo" in first
    assert "refine 1 of ada" in second
    assert "draft 1" not in second


def test_the_question_is_hidden_from_the_server_where_the_option_says_so() -> None:
    for sees in (True, False):
        game = play(a_query("ada", options={"rounds": 1, "server_sees_question": sees}))
        (synthesis,) = game.steps("synthesize")
        assert any(QUESTION in turn.content for turn in synthesis.messages) == sees


def test_a_client_reads_its_own_newest_answer_while_refining_unless_told_otherwise() -> None:
    game = play(a_query("ada", "bo", options={"rounds": 2}))
    for round, text in ((1, "draft 1 of bo"), (2, "refine 1 of bo")):
        (step,) = [s for s in game.steps("refine", round) if s.participant == "bo"]
        assert [t.content for t in step.messages if t.role == "assistant"] == [text]
    alone = play(a_query("ada", "bo", options={"client_sees_own_draft": False}))
    for step in alone.steps("refine"):
        assert all(turn.role != "assistant" for turn in step.messages)


def test_guidance_reaches_every_client_and_is_kept_with_whose_drafts_it_is_about() -> None:
    game = play(a_query("ada", "bo", options={"rounds": 1}))
    for step in game.steps("refine"):
        assert "synthesize 1 of main" in step.messages[-1].content
    (guidance,) = game.answer.guidance
    assert (guidance.text, guidance.server) == ("synthesize 1 of main", "main")
    assert guidance.drafts_of == ("ada", "bo")


def test_each_client_keeps_its_own_refined_answer_and_one_of_them_is_the_callers() -> None:
    texts = {"ada": "it scatters", "bo": "light scatters", "cy": "light scatters"}

    def reply(step: Step) -> Reply:
        return Reply(text=texts[step.participant]) if step.act == "refine" else answering(step)

    answer = play(a_query(*texts), reply).answer
    assert {name: client.refined for name, client in answer.clients.items()} == texts
    assert {client.status for client in answer.clients.values()} == {"refined"}
    assert (answer.status, answer.chosen, answer.answer) == ("answered", "bo", "light scatters")
    assert answer.chosen_because is not None
    assert not answer.degraded
    assert answer.notes == ()


def test_the_first_draft_and_the_last_refinement_are_a_clients_answer() -> None:
    client = play(a_query("ada", "bo", options={"rounds": 3})).answer.clients["bo"]
    assert (client.draft, client.refined) == ("draft 1 of bo", "refine 3 of bo")


def test_tokens_and_seconds_are_added_up_per_client_and_for_the_query() -> None:
    answer = play(a_query("ada", "bo", options={"rounds": 1})).answer
    assert answer.clients["ada"].tokens.prompt == 2 * 10
    assert answer.clients["ada"].seconds == 2 * 0.5
    assert answer.tokens.completion == 5 * 3  # two drafts, one synthesis, two refinements
    assert answer.seconds == 3.0  # three stages of one second
    assert (answer.asked_at, answer.ended_at) == (NOW, NOW + seconds(3))


def test_every_steps_seed_is_its_own_and_follows_from_the_querys() -> None:
    query = a_query("ada", "bo", options={"rounds": 2})
    game = play(query)
    seeds = [step.sampling.seed for step in game.asked]
    assert len(set(seeds)) == len(seeds)
    for step in game.asked:
        assert step.sampling.seed == derive_seed(7, step.round, step.act, step.participant, 0)
    assert seeds == [step.sampling.seed for step in play(query).asked]
    other = play(query.model_copy(update={"seed": 8}))
    assert not set(seeds) & {step.sampling.seed for step in other.asked}


def test_each_participant_samples_as_it_is_configured() -> None:
    game = play(a_query("ada", options={"rounds": 1}))
    (synthesis,) = game.steps("synthesize")
    assert synthesis.sampling.temperature == SERVER.sampling.temperature
    assert {s.sampling.temperature for s in game.steps("draft")} == {0.7}
    versions = {s.act: s.prompt_version for s in game.asked}
    assert versions.pop("refine") == colm_restated.VERSION
    assert versions == dict.fromkeys(("draft", "synthesize"), colm.VERSION)


def test_a_stage_waits_for_its_last_step_and_wakes_at_its_deadline() -> None:
    def slow_bo(step: Step) -> Reply:
        return Reply(text="late riser", after=15 if step.participant == "bo" else 1)

    game = play(a_query("ada", "bo", options={"rounds": 1}), slow_bo)
    (first, asked), (then, waiting), (last, _) = game.moves[:3]
    assert isinstance(asked, Ask)
    assert waiting == Wait(wake_at=NOW + seconds(20)) == Wait(wake_at=asked.wake_at)
    assert (first, then, last) == (NOW, NOW + seconds(1), NOW + seconds(15))


def test_the_last_move_and_no_other_is_a_finish() -> None:
    game = play(a_query("ada", "bo", "cy"))
    kinds = [type(move) for _, move in game.moves]
    assert kinds.count(Finish) == 1
    assert kinds[-1] is Finish
