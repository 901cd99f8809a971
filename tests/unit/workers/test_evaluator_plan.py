"""The plan of a run: every unit once, the same ids for ever, drafts that entries can share."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colm.db.runs.units import UnitKey
from colm.evaluation.data.examples import Example
from colm.evaluation.grading import Grade
from colm.models.errors import InvalidAsk
from colm.models.messages import Answer
from colm.models.roster import check_query_id
from colm.tasks.config.run_config import Entry, RunConfig, read_config
from colm.workers.evaluator.grading import grade_answer
from colm.workers.evaluator.plan import Planned, options_of, plan, planned_units, query_id_of
from tests.unit.db_examples import an_answer

EXAMPLES = [
    Example(id=str(n), question=f"What is {n}?", references=(str(n),), kind="numeric")
    for n in range(5)
]


def config(*, seeds: tuple[int, ...] = (0, 1)) -> RunConfig:
    return read_config(
        {
            "data": {"source": "items.jsonl"},
            "entries": [{"name": "alone", "strategy": "single"}, {"name": "colm"}],
            "seeds": seeds,
        }
    )


def test_every_unit_is_planned_once_and_the_entries_of_an_example_lie_together() -> None:
    planned = list(plan("night", config(), EXAMPLES, done=()))
    assert len(planned) == planned_units(config(), EXAMPLES) == 20
    assert set(Counter(p.key for p in planned).values()) == {1}
    pairs = zip(planned[::2], planned[1::2], strict=True)
    assert all((a.example, a.seed) == (b.example, b.seed) for a, b in pairs)


@given(st.sets(st.sampled_from([p.key for p in plan("night", config(), EXAMPLES, done=())])))
def test_what_is_done_is_left_out_and_nothing_else(done: set[UnitKey]) -> None:
    everything = [p.key for p in plan("night", config(), EXAMPLES, done=())]
    left = [p.key for p in plan("night", config(), EXAMPLES, done=done)]
    assert left == [key for key in everything if key not in done]


def test_an_id_follows_from_the_unit_and_from_nothing_else() -> None:
    first = [p.query_id for p in plan("night", config(), EXAMPLES, done=())]
    assert [p.query_id for p in plan("night", config(), EXAMPLES, done=())] == first
    assert len(set(first)) == len(first)
    other = {p.query_id for p in plan("day", config(), EXAMPLES, done=())}
    assert not other & set(first)


@given(st.text(max_size=64), st.text(max_size=64), st.text(max_size=64), st.integers(0, 2**31))
def test_whatever_its_parts_an_id_can_name_a_query(
    run: str, entry: str, example: str, seed: int
) -> None:
    found = query_id_of(run, UnitKey(entry, example, seed))
    check_query_id(found)
    assert re.fullmatch(r"u-[0-9a-f]{40}", found)
    assert found != query_id_of(run, UnitKey(entry, example, seed), "judge")


def test_entries_ask_an_example_with_the_same_seed_and_other_examples_with_others() -> None:
    asked = {
        (p.entry.name, p.example.id, p.seed): options_of(config(), p)
        for p in plan("night", config(), EXAMPLES, done=())
    }
    assert asked["alone", "1", 0]["seed"] == asked["colm", "1", 0]["seed"]
    assert len({options["seed"] for options in asked.values()}) == 10
    assert {options["kind"] for options in asked.values()} == {"numeric"}
    assert {(o["lane"], o["run"]) for o in asked.values()} == {("overnight", "night")}


def test_where_nothing_is_shared_each_entry_draws_its_own() -> None:
    apart = config().model_copy(update={"share": False})
    seeds = [options_of(apart, p)["seed"] for p in plan("night", apart, EXAMPLES, done=())]
    assert len(set(seeds)) == len(seeds) == 20
    again = [options_of(apart, p)["seed"] for p in plan("night", apart, EXAMPLES, done=())]
    assert again == seeds


def by_likelihood(by: str, **example: Any) -> Planned:
    entry = Entry.model_validate({"name": "alone", "strategy": "single", "by_likelihood": by})
    asked: dict[str, Any] = {
        "id": "e",
        "question": "?",
        "references": ("B",),
        "kind": "choice",
        **example,
    }
    return Planned(run="r", entry=entry, example=Example(**asked), seed=0)


def unused(_planned: Planned, _text: str) -> Grade:
    raise AssertionError("likelihoods are compared, and no text is read")


@pytest.mark.parametrize(
    ("by", "choices", "logprobs"),
    [
        ("letters", ["A", "B"], {"A": -2.0, "B": -1.0}),
        # For each character the longer one is the likelier.
        ("words", ["sun", "the whole moon"], {"sun": -3.0, "the whole moon": -7.0}),
    ],
)
def test_a_choice_is_made_by_the_likelihood_of_its_letters_or_words(
    by: str, choices: list[str], logprobs: dict[str, float]
) -> None:
    planned = by_likelihood(by, choices=("sun", "the whole moon"))
    told = an_answer("query-0001", answer=choices[0], detail={"choice_logprobs": logprobs})

    assert options_of(config(), planned)["choices"] == choices
    graded = grade_answer(unused, planned, Answer.model_validate(told), clients=True)
    assert (graded.answer.status, graded.answer.extracted) == ("correct", "B")


def test_an_example_without_choices_has_no_likeliest_one() -> None:
    with pytest.raises(InvalidAsk, match="the example has no choices"):
        options_of(config(), by_likelihood("letters"))
