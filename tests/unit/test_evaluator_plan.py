"""The plan of a run: every unit once, the same ids for ever, drafts that entries can share."""

from __future__ import annotations

import re
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from db.units import UnitKey
from evaluation.examples import Example
from models.roster import check_query_id
from tasks.evaluation_config import RunConfig, read_config
from workers.evaluator_plan import options_of, plan, planned_units, query_id_of

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
