"""Questions with images: who is shown them, who reads instead, and who is refused."""

from __future__ import annotations

from typing import Any

import pytest

from colm.models.errors import InvalidAsk
from colm.models.messages import Participant, Query, Step
from colm.models.roster import Roster, make_request, resolve
from colm.models.strategies import STRATEGIES
from tests.unit.examples import NOW, SERVER, a_client
from tests.unit.simulation import play

SIGN, TREE = "a" * 64, "b" * 64


def seeing(name: str, **changes: Any) -> Participant:
    return a_client(name).model_copy(update={"sees": True, **changes})


def reading(name: str) -> Participant:
    return seeing(name, sees=False, reads_descriptions=True)


def ask(*clients: Participant, server: Participant = SERVER, **options: Any) -> Query:
    roster = Roster(clients={c.name: c for c in clients}, servers={server.name: server})
    request = make_request("What does it say?", {"images": [SIGN, TREE], **options})
    return resolve(request, roster, "query-0001", NOW)


def shown(step: Step) -> list[tuple[str, ...]]:
    return [turn.images for turn in step.messages if turn.role != "system"]


def test_clients_see_the_images_before_the_question_in_every_stage() -> None:
    game = play(ask(seeing("ada"), seeing("bo"), rounds=1))
    for step in game.steps("draft"):
        assert shown(step) == [(SIGN, TREE)]
    for draft, refined in zip(game.steps("draft"), game.steps("refine"), strict=True):
        assert shown(refined) == [(SIGN, TREE), (), ()]
        assert refined.messages[: len(draft.messages)] == draft.messages


def test_a_server_that_reads_text_works_from_the_drafts() -> None:
    (blind,) = play(ask(seeing("ada"), rounds=1)).steps("synthesize")
    assert shown(blind) == [()]
    sees = SERVER.model_copy(update={"sees": True})
    (step,) = play(ask(seeing("ada"), server=sees, rounds=1)).steps("synthesize")
    assert shown(step) == [(SIGN, TREE)]
    hidden = ask(seeing("ada"), server=sees, rounds=1, server_sees_question=False)
    (step,) = play(hidden).steps("synthesize")
    assert shown(step) == [()]


def test_a_selection_is_made_by_words_alone() -> None:
    sees = SERVER.model_copy(update={"sees": True})
    (step,) = play(ask(seeing("ada"), seeing("bo"), server=sees, select=1)).steps("select")
    assert shown(step) == [()]


@pytest.mark.parametrize("synthesis", [True, False])
def test_who_reads_descriptions_refines_with_what_the_others_saw(synthesis: bool) -> None:
    game = play(ask(seeing("ada"), reading("bo"), seeing("cy"), rounds=1, synthesis=synthesis))
    assert game.who("draft") == ["ada", "cy"]
    assert game.who("refine") == ["ada", "bo", "cy"]
    (told,) = [step for step in game.steps("refine") if step.participant == "bo"]
    assert shown(told) == [()]
    asked = told.messages[-1].content
    for draft in ("draft 1 of ada", "draft 1 of cy"):
        assert draft in asked
    assert "you cannot see" in asked
    assert game.answer.status == "answered"
    assert game.answer.clients["bo"].status == "refined"


def test_a_selection_of_who_cannot_draft_lets_everyone_who_can() -> None:
    query = ask(seeing("ada"), reading("bo"), select=1, selector="keywords")
    chosen = query.model_copy(update={"question": "bo bo bo"})
    assert play(chosen).who("draft") == ["ada"]


@pytest.mark.parametrize(
    ("clients", "options", "reason"),
    [
        ([seeing("ada"), seeing("bo", sees=False)], {}, r"and bo cannot see: leave it out"),
        ([reading("ada")], {}, "no client of this query sees"),
        ([reading("ada")], {"strategy": "single"}, "takes none that only reads descriptions"),
        ([seeing("ada")], {"strategy": "moa"}, "and main cannot see"),
        ([seeing("ada")], {"strategy": "single", "participant": "main"}, "main cannot see"),
    ],
)
def test_a_participant_that_cannot_see_is_refused_by_name(
    clients: list[Participant], options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidAsk, match=reason):
        ask(*clients, **options)


@pytest.mark.parametrize("strategy", sorted(set(STRATEGIES) - {"judge"}))
def test_every_strategy_shows_the_images_to_whoever_answers(strategy: str) -> None:
    sees = SERVER.model_copy(update={"sees": True})
    game = play(ask(seeing("ada"), seeing("bo"), server=sees, strategy=strategy))
    assert game.answer.status == "answered"
    for step in game.asked:
        assert shown(step)[0] == (SIGN, TREE)


def test_what_is_no_id_of_an_image_is_refused() -> None:
    with pytest.raises(InvalidAsk, match="images"):
        make_request("What?", {"images": ["/etc/passwd"]})
