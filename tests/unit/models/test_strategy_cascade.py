"""The strategy `cascade`: COPE's stages without plans, at as many calls."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from colm.models.errors import InvalidAsk
from colm.models.messages import Query, Step
from colm.models.strategies import STRATEGIES
from colm.models.strategies.cope.cascade import cascade_rules
from colm.models.strategies.cope.consensus import replay, samples_of
from tests.unit.examples import a_query
from tests.unit.simulation import Reply, play


def a_cascade(**options: Any) -> Query:
    return a_query("ada", "bo", strategy="cascade", options={"kind": "exact", **options})


def apart(step: Step) -> Reply:
    """No two samples agree."""
    return Reply(text=f"Answer: word{step.round}x{step.index}")


@pytest.mark.parametrize("n", [1, 4, 8])
def test_no_agreement_costs_exactly_as_many_calls_as_cope(n: int) -> None:
    high = {"n": n, "t1": 1.0, "t2": 1.0, "comparison": ">"}
    game = play(a_cascade(**high), apart)
    cope = play(a_query("ada", "bo", strategy="cope", options=high), apart)
    assert Counter(s.round for s in game.asked) == Counter(s.round for s in cope.asked)
    assert len(game.asked) == 3 * n + 2
    assert {s.act for s in game.asked} == {"draft"}
    assert game.asked[-1].participant == "main"
    assert game.asked[-1].sampling.temperature == 0


def test_stage_1_is_accepted_on_the_share_of_its_2n_samples() -> None:
    def most(step: Step) -> Reply:
        return Reply(text="Answer: x" if step.index < 6 else f"Answer: {step.index}")

    game = play(a_cascade(n=4, t1=0.75), most)
    assert len(game.asked) == 8
    assert game.answer.detail["stages"][0]["confidence"] == 0.75
    assert (game.answer.answer, game.answer.chosen) == ("Answer: x", "ada")
    assert "consensus 0.75, needed >= 0.75" in str(game.answer.chosen_because)


def test_stored_samples_replay() -> None:
    game = play(a_cascade(n=2), apart)
    samples = {stage: samples_of(game.life.state, stage) for stage in (1, 2, 3)}
    assert [len(samples[stage]) for stage in (1, 2, 3)] == [4, 3, 1]
    assert replay(samples, cascade_rules(game.life.query)).text == game.answer.answer
    low = cascade_rules(a_cascade(n=2, t1=0.25))
    assert replay(samples, low).stage == 1


def test_temperatures_can_be_set_by_stage() -> None:
    game = play(a_cascade(n=1, t1=1, comparison=">", temperature2=1.5), apart)
    assert {s.round: s.sampling.temperature for s in game.asked[:-1]} == {1: 0.7, 2: 1.5}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [({"server": None}, "needs a server"), ({"clients": []}, "at least one client")],
)
def test_what_cannot_be_carried_is_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidAsk, match=complaint):
        STRATEGIES["cascade"].check(a_query("ada", **{"strategy": "cascade", **changes}))
