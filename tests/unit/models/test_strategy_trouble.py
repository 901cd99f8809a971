"""The strategy `colm` when participants fail, fall silent or name nonsense."""

from __future__ import annotations

import pytest

from colm.models.messages import Deadlines, Step
from colm.models.strategies.base import Decision, Finish
from tests.unit.examples import NOW, a_query, seconds
from tests.unit.simulation import Play, Reply, Script, answering, play


def unless(*silent: str, failing: str = "", acts: tuple[str, ...] = ()) -> Script:
    """Everybody answers but the `silent` and the `failing`; `acts` limits this to some steps."""

    def reply(step: Step) -> Reply | None:
        concerned = not acts or step.act in acts
        if concerned and step.participant in silent:
            return None
        if concerned and step.participant == failing:
            return Reply(error="out of memory")
        return answering(step)

    return reply


def selection(text: str | None) -> Script:
    def reply(step: Step) -> Reply | None:
        if step.act != "select":
            return answering(step)
        return Reply(text=text) if text is not None else None

    return reply


def decision(game: Play, kind: str) -> Decision:
    (found,) = [d for d in game.life.decisions if d.kind == kind]
    return found


def test_a_silent_client_costs_one_deadline_and_is_asked_again_all_the_same() -> None:
    game = play(a_query("ada", "bo", "cy", options={"rounds": 2}), unless("bo"))
    assert game.answer.status == "answered"
    assert game.steps("synthesize", 1)[0].deadline_at == NOW + seconds(20 + 30)
    assert game.who("refine") == ["ada", "bo", "cy"] * 2
    assert game.answer.seconds < 20 + 20
    bo = game.answer.clients["bo"]
    assert bo.status == "failed"
    assert "nothing came from bo before the draft deadline, 20.0 s" in str(bo.reason)
    assert len(game.answer.notes) == 3
    assert "refine not waited for" in game.answer.notes[-1]


def test_a_client_that_was_silent_and_comes_back_refines_if_it_is_in_time() -> None:
    def reply(step: Step) -> Reply | None:
        if step.participant == "bo":
            return Reply(after=1) if step.act == "refine" else None
        return Reply(after=5)

    game = play(a_query("ada", "bo", options={"rounds": 1}), reply)
    assert game.answer.clients["bo"].status == "refined"


def test_a_client_that_failed_is_asked_to_refine_all_the_same() -> None:
    game = play(a_query("ada", "bo", options={"rounds": 1}), unless(failing="bo", acts=("draft",)))
    assert game.who("refine") == ["ada", "bo"]
    (refinement,) = [s for s in game.steps("refine") if s.participant == "bo"]
    assert all(turn.role != "assistant" for turn in refinement.messages)
    bo = game.answer.clients["bo"]
    assert (bo.status, bo.draft, bo.refined) == ("refined", None, "refine 1 of bo")
    assert game.answer.degraded


def test_a_failure_never_becomes_a_draft_that_is_synthesized() -> None:
    game = play(a_query("ada", "bo", options={"rounds": 1}), unless(failing="bo", acts=("draft",)))
    assert '<draft by="bo">' not in game.steps("synthesize")[0].messages[-1].content
    assert game.answer.guidance[0].drafts_of == ("ada",)


def test_whoever_was_gone_without_is_named_in_the_notes() -> None:
    game = play(a_query("ada", "bo", options={"rounds": 1}), unless(failing="bo", acts=("draft",)))
    (note,) = game.answer.notes
    assert "bo" in note
    assert "out of memory" in note


@pytest.mark.parametrize(
    ("clients", "silent", "quorum", "goes_on"),
    [
        ("ada bo", "bo", None, True),  # half, rounded up, is one
        ("ada bo cy", "bo cy", None, False),
        ("ada bo cy", "cy", None, True),
        ("ada bo cy", "cy", 3, False),
        ("ada bo cy", "bo cy", 1, True),
        ("ada", "", None, True),
    ],
)
def test_a_stage_goes_on_with_its_quorum(
    clients: str, silent: str, quorum: int | None, goes_on: bool
) -> None:
    query = a_query(*clients.split(), options={"quorum": quorum, "rounds": 1})
    game = play(query, unless(*silent.split()))
    assert bool(game.who("synthesize")) == goes_on
    assert game.answer.status == "answered"
    if not goes_on:
        assert {c.status for c in game.answer.clients.values()} == {"drafted", "failed"}
        assert "needed" in game.answer.notes[0]


def test_refinements_below_the_quorum_end_the_rounds_with_those_that_came() -> None:
    game = play(a_query("ada", "bo", "cy"), unless("ada", "bo", acts=("refine",)))
    assert game.who("synthesize") == ["main"]
    assert game.answer.chosen == "cy"
    assert game.answer.clients["ada"].status == "drafted"
    assert game.answer.degraded
    (note,) = game.answer.notes
    assert note.startswith("only 1 of 3 clients refined, 2 needed (ada: expired: nothing came")


def test_the_quorum_never_asks_for_more_than_were_selected() -> None:
    query = a_query("ada", "bo", "cy", options={"select": 1, "quorum": 3, "rounds": 1})
    assert play(query, selection("cy")).who("synthesize") == ["main"]


def test_nobody_drafts_and_the_query_fails_with_every_reason() -> None:
    answer = play(a_query("ada", "bo"), unless("ada", failing="bo")).answer
    assert (answer.status, answer.answer, answer.chosen) == ("failed", None, None)
    assert "nothing came from ada" in str(answer.reason)
    assert "out of memory" in str(answer.reason)
    assert {client.status for client in answer.clients.values()} == {"failed"}


def test_a_silent_server_ends_the_query_with_the_drafts() -> None:
    for trouble in (unless("main"), unless(failing="main")):
        answer = play(a_query("ada", "bo"), trouble).answer
        assert answer.status == "answered"
        assert answer.degraded
        assert "no guidance in round 1" in answer.notes[0]
        assert {client.status for client in answer.clients.values()} == {"drafted"}
        assert answer.answer == f"draft 1 of {answer.chosen}"


def test_a_server_that_fails_in_the_second_round_leaves_the_first_rounds_answers() -> None:
    def reply(step: Step) -> Reply:
        return (
            Reply(error="gone") if (step.act, step.round) == ("synthesize", 2) else answering(step)
        )

    answer = play(a_query("ada", "bo", options={"rounds": 2}), reply).answer
    assert answer.clients["ada"].refined == "refine 1 of ada"
    assert "no guidance in round 2" in answer.notes[0]


def test_a_late_answer_changes_nothing() -> None:
    def reply(step: Step) -> Reply:
        late = step.participant == "bo" and step.act == "draft"
        return Reply(text="too late", after=25) if late else answering(step)

    game = play(a_query("ada", "bo", options={"rounds": 1}), reply)
    assert game.answer.clients["bo"].draft is None
    assert game.who("refine") == ["ada", "bo"]


@pytest.mark.parametrize(
    ("reply", "drafting", "ok", "words"),
    [
        ("bo, cy", ["bo", "cy"], True, "as named"),
        ("I would ask cy and then bo.", ["bo", "cy"], True, "repaired"),
        ("cy", ["cy"], True, "repaired: only 1 of 2"),
        ("cy, bo, ada", ["bo", "cy"], True, "repaired: 3 clients named"),
        ("everybody!", ["ada", "bo", "cy"], False, "refused"),
        (None, ["ada", "bo", "cy"], False, "no selection"),
    ],
)
def test_a_selection_is_taken_repaired_or_refused(
    reply: str | None, drafting: list[str], ok: bool, words: str
) -> None:
    query = a_query("ada", "bo", "cy", options={"select": 2, "rounds": 1})
    game = play(query, selection(reply))
    assert game.who("draft") == drafting
    assert words in decision(game, "selection").reason
    assert decision(game, "selection").detail["ok"] == ok
    assert game.answer.selected == (
        tuple(decision(game, "selection").detail["clients"]) if ok else None
    )
    if not ok:
        assert words in game.answer.notes[0]
        assert game.answer.degraded == (reply is None or bool(game.answer.notes))


def test_the_server_is_asked_for_guidance_though_its_selection_expired() -> None:
    query = a_query("ada", "bo", options={"select": 1, "rounds": 1})
    assert play(query, selection(None)).who("synthesize") == ["main"]


def test_the_querys_deadline_comes_before_the_stages() -> None:
    deadlines = Deadlines(draft=20, synthesize=30, refine=40, query=25)
    game = play(a_query("ada", "bo", deadlines=deadlines), unless("main"))
    (synthesis,) = game.steps("synthesize")
    assert synthesis.deadline_at == NOW + seconds(25)
    assert game.answer.ended_at == NOW + seconds(25)


def test_nothing_is_asked_once_the_querys_deadline_has_passed() -> None:
    deadlines = Deadlines(draft=20, query=10)
    game = play(a_query("ada", "bo", deadlines=deadlines), unless("bo"))
    assert game.who("synthesize") == []
    assert game.answer.status == "answered"
    assert "deadline" in game.answer.notes[0]
    assert isinstance(game.moves[-1][1], Finish)
