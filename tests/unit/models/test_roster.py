"""What can be asked, and what a caller hears of a mistake before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

from colm.models.errors import InvalidAsk
from colm.models.messages import AskRequest, Deadlines, Query, derive_seed
from colm.models.roster import Roster, check_options, make_request, nearest, resolve
from tests.unit.examples import DEADLINES, NOW, QUESTION, SERVER, a_client

ROSTER = Roster(
    clients={name: a_client(name) for name in ("ada", "bo", "cy")},
    servers={"main": SERVER, "other": SERVER.model_copy(update={"name": "other"})},
    deadlines=DEADLINES,
    defaults={"colm": {"rounds": 1, "server_sees_question": False}},
)


def ask(roster: Roster = ROSTER, query_id: str = "query-0001", **options: Any) -> Query:
    return resolve(make_request(QUESTION, options), roster, query_id, NOW)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"strategy": "clom"}, r"unknown strategy 'clom'; did you mean 'colm'\?"),
        ({"strategy": "zzz"}, r"unknown strategy 'zzz' \(there are: .*colm, .*single"),
        ({"strategy": "Not A Name"}, "strategy: String should match pattern"),
        ({"round": 2}, "strategy 'colm' has no option 'round'; did you mean 'rounds'"),
        ({"client": ["ada"]}, "did you mean 'clients'"),
        ({"temprature": 1}, "did you mean 'temperature'"),
        ({"strategy": "single", "rounds": 1}, "strategy 'single' has no option 'rounds'"),
        ({"rounds": 0}, "strategy 'colm' cannot use rounds: .* greater than or equal to 1"),
        ({"rounds": 9}, "strategy 'colm' cannot use rounds: .* less than or equal to 8"),
        ({"rounds": "two"}, "strategy 'colm' cannot use rounds: .* valid integer"),
        ({"select": 0}, "select: .* greater than or equal to 1"),
        ({"quorum": 1.5}, "quorum: .* valid integer"),
        ({"clients": []}, "clients: .* at least 1"),
        ({"clients": "ada"}, "clients: .* valid tuple"),
        ({"clients": ["ada", "ada"]}, "clients names the same client twice"),
        ({"clients": ["Ada"]}, r"clients\.0: String should match pattern"),
        ({"seed": -1}, "seed: .* greater than or equal to 0"),
        ({"seed": 2**63}, "seed: "),
        ({"temperature": -0.1}, "temperature: "),
        ({"temperature": float("nan")}, "temperature: "),
        ({"max_new_tokens": 0}, "max_new_tokens: "),
        ({"deadline": 0}, "deadline: .* greater than 0"),
        ({"deadline": float("inf")}, "deadline: "),
        ({"options": ["rounds"]}, "strategy 'colm' has no option 'options'"),
        ({"options": {"rouns": 1}}, "did you mean 'rounds'"),
        ({"options": {1: 2}}, "options"),
        ({"question": "Another?"}, "question is given twice"),
    ],
)
def test_an_unusable_option_is_refused_in_words(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidAsk, match=complaint):
        make_request(QUESTION, options)


@pytest.mark.parametrize(
    ("question", "complaint"),
    [
        ("", "question: "),
        (" \n", "question is empty"),
        ("x" * 32_001, "question: .* at most 32000"),
        (None, "question: .* valid string"),
        (5, "question: .* valid string"),
        (["Why?"], "question: .* valid string"),
        ("\udcff", "question: .* unicode"),
    ],
)
def test_an_unusable_question_is_refused_in_words(question: Any, complaint: str) -> None:
    with pytest.raises(InvalidAsk, match=complaint):
        make_request(question, {})


def test_options_of_the_request_and_of_the_strategy_are_told_apart() -> None:
    request = make_request(QUESTION, {"seed": 1, "rounds": 2, "clients": ["ada"], "select": None})
    assert request == AskRequest(
        question=QUESTION, seed=1, clients=("ada",), options={"rounds": 2, "select": None}
    )


def test_options_can_be_given_as_one_mapping_too_and_a_keyword_goes_before_it() -> None:
    request = make_request(QUESTION, {"options": {"rounds": 2, "select": 1}, "rounds": 3})
    assert request.options == {"rounds": 3, "select": 1}


def test_a_request_can_be_made_again_from_what_it_sends() -> None:
    request = make_request(QUESTION, {"seed": 1, "rounds": 2, "clients": ["ada"]})
    sent = request.model_dump(mode="json", exclude={"question"}, exclude_defaults=True)
    assert make_request(QUESTION, sent) == request


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"clients": ["bob"]}, r"client 'bob'; did you mean 'bo'\? \(there are: ada, bo, cy\)"),
        ({"clients": ["ada", "zoe"]}, r"unknown client 'zoe' \(there are"),
        (
            {"strategy": "cope", "confidence": "tests", "tests": "1", "checker": "box"},
            "unknown server 'box'",
        ),
        ({"server": "mian"}, "unknown server 'mian'; did you mean 'main'"),
        ({"select": 4}, "select=4 is more than the 3 clients"),
        ({"clients": ["ada"], "quorum": 2}, "quorum=2 is more than the 1 clients"),
        ({"strategy": "single", "participant": "zoe"}, "'zoe' is neither"),
        ({"strategy": "single", "clients": ["ada"], "participant": "bo"}, "'bo' is neither"),
    ],
)  # fmt: skip
def test_what_this_site_cannot_do_is_refused_in_words(
    options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InvalidAsk, match=complaint):
        ask(**options)


def test_a_query_id_that_is_none_is_refused_in_words() -> None:
    with pytest.raises(InvalidAsk, match="query_id: String should match pattern"):
        ask(query_id="no.dots, please")


def test_a_site_without_servers_or_clients_says_so() -> None:
    with pytest.raises(InvalidAsk, match="needs a server"):
        ask(ROSTER.model_copy(update={"servers": {}}))
    with pytest.raises(InvalidAsk, match="needs at least one client"):
        ask(ROSTER.model_copy(update={"clients": {}}))
    with pytest.raises(InvalidAsk, match=r"unknown client 'ada' \(there are: none\)"):
        ask(ROSTER.model_copy(update={"clients": {}}), clients=["ada"])


def test_everything_left_out_has_the_sites_default() -> None:
    query = ask()
    assert [client.name for client in query.clients] == ["ada", "bo", "cy"]
    assert query.server == SERVER  # the first is the default
    assert query.deadlines == DEADLINES
    assert query.seed == derive_seed("query-0001")
    assert query.options == {"rounds": 1, "server_sees_question": False}
    assert (query.question, query.strategy, query.asked_at) == (QUESTION, "colm", NOW)


def test_everything_said_goes_before_the_sites_defaults() -> None:
    query = ask(
        clients=["cy", "ada"], server="other", rounds=3, seed=5, deadline=60, max_new_tokens=9,
        temperature=0,
    )  # fmt: skip
    assert [client.name for client in query.clients] == ["cy", "ada"]
    assert query.server is not None
    assert query.server.name == "other"
    assert query.options == {"rounds": 3, "server_sees_question": False}
    assert (query.seed, query.deadlines.query, query.deadlines.draft) == (5, 60, 20)
    for participant in (*query.clients, query.server):
        assert participant.sampling.max_new_tokens == 9
        assert participant.sampling.temperature == 0


def test_one_override_leaves_the_rest_of_the_sampling_alone() -> None:
    query = ask(max_new_tokens=9)
    assert query.server is not None
    assert query.server.sampling == SERVER.sampling.model_copy(update={"max_new_tokens": 9})
    assert SERVER.sampling.max_new_tokens == 256


def test_a_sites_default_that_does_not_fit_is_found_at_the_ask() -> None:
    broken = ROSTER.model_copy(update={"defaults": {"colm": {"rounds": 99}}})
    with pytest.raises(InvalidAsk, match="rounds"):
        ask(broken)
    assert ask(broken, rounds=1).options == {"rounds": 1}


def test_the_nearest_name_is_offered_only_when_one_is_near() -> None:
    assert nearest("rouds", ["rounds"]) == "; did you mean 'rounds'? (there is: rounds)"
    assert nearest("x", ["b", "a"]) == " (there are: a, b)"
    assert nearest("x", []) == " (there are: none)"


def test_a_rosters_deadlines_default_to_the_messages() -> None:
    assert Roster(clients={}, servers={}).deadlines == Deadlines()
    check_options("colm", {})
