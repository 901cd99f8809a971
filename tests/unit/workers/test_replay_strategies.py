"""Every strategy is decided again as it was: whatever its options, whoever answers, fails or waits.

A strategy that read anything but the record and the moment would come out otherwise here.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from colm.db.connection import connect
from colm.db.reads.history import QueryEnded
from colm.models.messages import Completion, Deadlines, Query, Step
from colm.models.strategies import STRATEGIES
from colm.workers.audit.replay_decisions import replay_decisions
from tests.unit.examples import a_completion
from tests.unit.models.test_strategy_properties import queries
from tests.unit.strategy_examples import a_query_for
from tests.unit.workers.test_replay_decisions import DELAYS, Lived, Reply

NAMES = ("ada", "bo", "cy")
DEADLINES = Deadlines(
    select=10, draft=20, synthesize=30, refine=40, plan=15, solve=25, aggregate=30, judge=20,
    check=5, query=1000,
)  # fmt: skip
TEXTS = [
    "Answer: 4",
    "Answer: 5",
    "it is \x00 B",
    "A",
    "TIE",
    "",
    "passed",
    "```python\nf = 2\n```",
    "fail",
]
SHARES = st.sampled_from([0.0, 0.5, 0.75, 1.0])
SOMEBODY = st.sampled_from([None, "ada", "main"])
KINDS = st.fixed_dictionaries({}, optional={"kind": st.sampled_from(["numeric", "choice"])})

#: What may be drawn of each strategy's options; `colm` has a strategy of its own.
OPTIONS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "cascade": st.fixed_dictionaries({"n": st.integers(1, 2), "t1": SHARES, "t2": SHARES}),
    "cope": st.fixed_dictionaries(
        {
            "n": st.integers(1, 3),
            "t1": SHARES,
            "t2": SHARES,
            "comparison": st.sampled_from([">", ">="]),
            "confidence": st.sampled_from(["vote", "perplexity", "tests"]),
            "tests": st.just("assert f == 2"),
            "checker": st.just("main"),
            "stages": st.sampled_from([[1], [1, 2], [1, 3], [1, 2, 3]]),
            "plans": st.booleans(),
        }
    ),
    "judge": st.fixed_dictionaries(
        {"answers": st.just(["Rayleigh scattering.", "The sea."]), "by_likelihood": st.booleans()},
        optional={"reference": st.just("Rayleigh scattering.")},
    ),
    "moa": st.fixed_dictionaries({"layers": st.integers(1, 3), "aggregator": SOMEBODY}),
    "resample": st.fixed_dictionaries(
        {"calls": st.integers(1, 3), "take": st.sampled_from(["last", "vote"])}
    ),
    "self-moa": st.fixed_dictionaries({"n": st.integers(1, 3), "participant": SOMEBODY}),
    "single": st.fixed_dictionaries(
        {"participant": SOMEBODY, "choices": st.sampled_from([[], ["A", "B"]])}
    ),
    "vote": st.fixed_dictionaries({"n": st.integers(1, 4), "participant": SOMEBODY}),
}


@st.composite
def lives(draw: st.DrawFn, strategy: str) -> Query:
    """A query of the strategy, which its options can be asked of."""
    if strategy == "colm":
        return draw(queries())
    options = draw(OPTIONS[strategy]) | (draw(KINDS) if strategy != "judge" else {})
    limit = draw(st.sampled_from([5.0, 35.0, 1000.0, 1000.0]))
    names = NAMES[: draw(st.integers(1, len(NAMES)))]
    return a_query_for(
        strategy, *names,
        options=options, seed=draw(st.integers(0, 99)),
        deadlines=DEADLINES.model_copy(update={"query": limit}),
    )  # fmt: skip


def completion(data: st.DataObject, step: Step, text: str) -> Completion:
    """With all that a strategy may decide by."""
    logprobs = st.floats(-9, 0, allow_nan=False)
    likely = {choice: data.draw(logprobs) for choice in step.choices} or None
    text = max(likely, key=lambda choice: likely[choice]) if likely else text
    return a_completion(text, mean_logprob=data.draw(st.none() | logprobs), choice_logprobs=likely)


def test_every_strategy_is_drawn() -> None:
    assert {*OPTIONS, "colm"} == set(STRATEGIES)


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(
    max_examples=25,
    phases=[Phase.generate],  # each example is a database
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_every_life_of_every_strategy_is_decided_again_as_it_was(
    sqlite_template: Path, strategy: str, data: st.DataObject
) -> None:
    #: Where everybody fails now and then, few queries come far.
    trouble = data.draw(st.sampled_from([2, 10, 50]))

    def reply(step: Step) -> Reply | None:
        if data.draw(st.integers(1, trouble)) > 1:
            return completion(data, step, data.draw(st.sampled_from(TEXTS))), 0.5
        if data.draw(st.booleans()):
            return None
        return data.draw(st.sampled_from(["fail", *TEXTS])), data.draw(st.sampled_from(DELAYS))

    query = data.draw(lives(strategy))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "record.db"
        shutil.copyfile(sqlite_template, path)
        engine = connect(f"sqlite:///{path}")
        history = Lived(engine, query, reply).live()
        engine.dispose()

    found = replay_decisions(history)

    assert (found.difference, found.ended_early) == (None, None)
    assert found.moves >= 2
    assert sum(isinstance(entry.what, QueryEnded) for entry in history.entries) == 1
