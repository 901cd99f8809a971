"""What holds of every query, whoever answers, fails, is silent or late, in whatever order."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import datetime
from types import FrameType
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from colm.models.messages import Deadlines, Query, Step
from colm.models.strategies import STRATEGIES
from colm.models.strategies.base import Ask, Finish, Move, QueryState, Wait
from colm.models.strategies.stages import query_deadline
from tests.unit.examples import a_query
from tests.unit.simulation import Play, Reply, answering, play
from tests.unit.strategy_examples import a_query_for

#: No name is the beginning of another's: hypothesis should not test our regular expressions here.
NAMES = ("ada", "bo", "cy", "di")
#: Seconds after which something comes; stages last 10 to 40.
DELAYS = st.sampled_from([0.0, 0.5, 3.0, 9.0, 10.0, 19.5, 20.0, 35.0, 60.0])
EXAMPLES = 80

relaxed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
)


@st.composite
def queries(draw: st.DrawFn) -> Query:
    names = NAMES[: draw(st.integers(1, len(NAMES)))]
    some = st.none() | st.integers(1, len(names))
    options: dict[str, Any] = {
        "rounds": draw(st.integers(1, 3)),
        "select": draw(some),
        "quorum": draw(some),
        "server_sees_question": draw(st.booleans()),
        "client_sees_own_draft": draw(st.booleans()),
        "guidance": draw(st.sampled_from(["note", "answer"])),
        "restate": draw(st.booleans()),
    }
    limit = draw(st.sampled_from([5.0, 25.0, 45.0, 1000.0]))
    deadlines = Deadlines(select=10, draft=20, synthesize=30, refine=40, query=limit)
    return a_query(*names, options=options, deadlines=deadlines, seed=draw(st.integers(0, 99)))


TEXTS = st.sampled_from(["it scatters", "because", "", *NAMES, ", ".join(NAMES)])


@st.composite
def plays(draw: st.DrawFn) -> Play:
    """A query played to its end: `play` itself checks that it ends, and its moves' purity."""
    #: Where everybody fails now and then, no query comes to its second round.
    kinds = ["answers"] * draw(st.sampled_from([1, 6, 20])) + ["says", "fails", "is silent"]

    def reply(step: Step) -> Reply | None:
        match draw(st.sampled_from(kinds)):
            case "answers":
                return answering(step)
            case "says":
                return Reply(text=draw(TEXTS), after=draw(DELAYS))
            case "fails":
                return Reply(error="no memory", after=draw(DELAYS))
        return None

    return play(draw(queries()), reply)


@relaxed
@given(plays())
def test_it_ends_exactly_once_and_not_after_its_deadline(game: Play) -> None:
    finishes = [move for _, move in game.moves if isinstance(move, Finish)]
    assert len(finishes) == 1
    assert game.answer.ended_at <= query_deadline(game.life.query)


@relaxed
@given(plays())
def test_nothing_is_asked_twice_and_no_two_steps_share_a_seed(game: Play) -> None:
    assert len({step.step_id for step in game.asked}) == len(game.asked)
    assert len({step.sampling.seed for step in game.asked}) == len(game.asked)


@relaxed
@given(plays())
def test_a_wait_lasts_until_the_deadline_of_what_is_open(game: Play) -> None:
    asked: Ask | None = None
    for now, move in game.moves:
        if isinstance(move, Ask):
            asked = move
            assert move.wake_at == max(step.deadline_at for step in move.steps)
            assert now < move.wake_at <= query_deadline(game.life.query)
        elif isinstance(move, Wait):
            assert asked is not None
            assert now < move.wake_at == asked.wake_at


@relaxed
@given(plays())
def test_one_stage_runs_at_a_time_and_everything_is_closed_in_the_end(game: Play) -> None:
    for _, move in game.moves:
        if isinstance(move, Ask):
            assert len({(step.act, step.round) for step in move.steps}) == 1
    assert not [s.step.step_id for s in game.life.state.steps if s.open]


@relaxed
@given(plays())
def test_guidance_goes_to_every_client_in_every_round(game: Play) -> None:
    everybody = [client.name for client in game.life.query.clients]
    for round in {step.round for step in game.steps("refine")}:
        assert game.who("refine", round) == everybody


@relaxed
@given(plays())
def test_the_answer_tells_of_every_client_what_the_record_knows(game: Play) -> None:
    answer = game.answer
    assert list(answer.clients) == [client.name for client in game.life.query.clients]
    for name, client in answer.clients.items():
        mine = [s for s in game.life.state.steps if s.step.participant == name]
        refined = [s.completion.text for s in mine if s.completion and s.step.act == "refine"]
        drafted = [s.completion.text for s in mine if s.completion and s.step.act == "draft"]
        assert client.refined == (refined[-1] if refined else None)
        assert client.draft == (drafted[0] if drafted else None)
        assert (client.status == "idle") == (not mine)
        assert (client.status == "failed") == (client.text is None and bool(mine))
        if client.status == "failed":
            assert client.reason


@relaxed
@given(plays())
def test_the_callers_answer_is_one_of_the_best_that_there_are(game: Play) -> None:
    answer = game.answer
    refined = {n: c.refined for n, c in answer.clients.items() if c.refined is not None}
    drafts = {n: c.draft for n, c in answer.clients.items() if c.draft is not None}
    best = refined or drafts
    if best:
        assert (answer.status, answer.reason) == ("answered", None)
        assert answer.chosen in best
        assert answer.answer == best[answer.chosen]
    else:
        assert (answer.status, answer.answer, answer.chosen) == ("failed", None, None)
        assert answer.reason


@relaxed
@given(plays())
def test_an_answer_is_degraded_exactly_when_its_notes_say_why(game: Play) -> None:
    missing = [s for s in game.life.state.steps if s.completion is None]
    selection = [d for d in game.life.decisions if d.kind == "selection"]
    refused = any(not d.detail["ok"] for d in selection)
    answer = game.answer
    assert answer.degraded == bool(answer.notes)
    if missing or refused:
        assert answer.degraded
    for state in missing:
        assert state.step.participant in " ".join(answer.notes)


@relaxed
@given(plays())
def test_guidance_is_on_the_drafts_that_the_panel_decision_names(game: Play) -> None:
    for guidance in game.answer.guidance:
        (prompt,) = [s.messages[-1].content for s in game.steps("synthesize", guidance.round)]
        for name in NAMES:
            assert (f'<draft by="{name}">' in prompt) == (name in guidance.drafts_of)


@relaxed
@given(plays())
def test_moves_and_answers_survive_the_wire(game: Play) -> None:
    assert type(game.answer).model_validate_json(game.answer.model_dump_json()) == game.answer
    for decision in game.life.decisions:
        assert json.loads(json.dumps(decision.detail)) == decision.detail


#: C functions by which a strategy could learn of something that is not in the record.
FORBIDDEN_MODULES = {"time", "_random", "posix", "_socket", "io", "_io", "_thread", "_secrets"}
FORBIDDEN_NAMES = {"now", "utcnow", "today", "urandom", "fromtimestamp", "localtime"}


def _watched(decide: Callable[[QueryState, datetime], Move], seen: set[str]) -> Any:
    """`decide`, noting every forbidden C function that Python code calls meanwhile."""

    def profile(frame: FrameType, event: str, called: Any) -> None:
        # Hypothesis measures every garbage collection, whoever is running then.
        if event != "c_call" or frame.f_globals["__name__"].startswith("hypothesis"):
            return
        module, name = getattr(called, "__module__", None), getattr(called, "__name__", "")
        if module in FORBIDDEN_MODULES or name in FORBIDDEN_NAMES:
            seen.add(f"{module}.{name}")

    def watched(state: QueryState, now: datetime) -> Move:
        before = sys.getprofile()
        sys.setprofile(profile)
        try:
            return decide(state, now)
        finally:
            sys.setprofile(before)

    return watched


def test_no_strategy_reads_a_clock_a_file_or_a_random_number() -> None:
    for name, strategy in STRATEGIES.items():
        seen: set[str] = set()
        query = a_query_for(name, options={"select": 1} if name == "colm" else {})
        play(query, decide=_watched(strategy.next_move, seen))
        play(query, lambda _: None, decide=_watched(strategy.next_move, seen))
        assert seen == set()


def test_the_watch_sees_a_clock_that_is_read() -> None:
    seen: set[str] = set()
    colm = STRATEGIES["colm"]

    def cheating(state: QueryState, now: datetime) -> Move:
        datetime.now(now.tzinfo)
        return colm.next_move(state, now)

    play(a_query("ada"), decide=_watched(cheating, seen))
    assert {name.rpartition(".")[2] for name in seen} == {"now"}
