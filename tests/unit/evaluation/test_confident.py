"""An entry of COPE that is confident by tests tries each answer on its example's visible tests."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from colm.evaluation.data.examples import Dataset, Example
from colm.evaluation.data.load import load
from colm.evaluation.grading import grade
from colm.evaluation.stats.cope_thresholds import stored_of, sweep
from colm.models.errors import InvalidAsk
from colm.models.messages import Query, Step
from colm.models.roster import Roster, make_request, resolve
from colm.models.sandbox.protocol import CheckReport, read_request
from colm.models.sandbox.runner import run
from colm.tasks import dependencies, evaluations
from colm.tasks.config.run_config import RunConfig, read_config
from colm.workers.evaluator.data import describe_missing_tests, digest_of
from colm.workers.evaluator.plan import options_of, plan
from tests.unit.examples import DEADLINES, NOW, SERVER, a_client
from tests.unit.simulation import Play, Reply, answering, play

ROSTER = Roster(
    clients={"ada": a_client("ada")},
    servers={"main": SERVER, "box": SERVER.model_copy(update={"name": "box"})},
    deadlines=DEADLINES,
)
OPTIONS = {"confidence": "tests", "checker": "box", "n": 4, "t1": 0.5, "t2": 0.5, "plans": False}
ROWS = [
    {
        "prompt": f'def {name}(x):\n    """{doc}\n    """\n',
        "entry_point": name,
        "test": f"def check(candidate):\n    assert candidate(3) == {value}\n",
    }
    for name, doc, value in [
        ("twice", "Doubles.\n    >>> twice(2)\n    4", 6),
        ("thrice", "Triples.\n    thrice(2) == 6", 9),
        ("once", "Gives it back.", 3),
    ]
]
#: What the client writes, by function and place; only the true ones pass what the prompt shows.
WRITES = {
    "twice": ["x ** x + 1", "2 * x", "x + 3", "x + x"],
    "thrice": ["3", "x * 2", "x", "9 * x"],
    "once": ["x", "x + 1", "x", "x"],
}


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    path = tmp_path / "functions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return load(str(path))


def ordered(**options: Any) -> RunConfig:
    entries = [{"name": "alone", "strategy": "single"},
               {"name": "cope", "strategy": "cope", "options": {**OPTIONS, **options}}]  # fmt: skip
    return read_config({"data": {"source": "functions.jsonl"}, "entries": entries})


def queries(config: RunConfig, data: Dataset) -> dict[str, Query]:
    """What COPE is asked, by function, resolved as a coordinator does."""
    return {
        row["entry_point"]: resolve(
            make_request(planned.example.question, options_of(config, planned)),
            ROSTER,
            planned.query_id,
            NOW,
        )
        for row in ROWS
        for planned in plan("night", config, data.examples, ())
        if planned.entry.name == "cope" and f"def {row['entry_point']}(" in planned.example.question
    }


def played(query: Query, name: str) -> Play:
    """With a client that writes what `WRITES` says, and the sandbox itself."""

    def reply(step: Step) -> Reply:
        if step.act == "check":
            asked = read_request(step.messages[-1].content)
            found = run(asked.code, asked.tests)
            told = CheckReport(passed=found.passed, status=found.status, reason="", seconds=0)
            return Reply(text=told.model_dump_json())
        if step.role == "client":
            body = WRITES[name][step.index]
            return Reply(text=f"```python\ndef {name}(x):\n    return {body}\n```")
        return answering(step)

    return play(query, reply)


def test_each_example_is_tried_on_what_its_own_prompt_shows(data: Dataset) -> None:
    asked = queries(ordered(), data)
    game = played(asked["twice"], "twice")

    tried = [read_request(step.messages[-1].content).tests for step in game.steps("check")]
    assert tried == ["assert (twice(2)) == 4"] * 4
    assert game.answer.detail["stages"][0]["members"] == [1, 3]
    assert (game.answer.detail["stage"], game.answer.detail["confidence"]) == (1, "tests")
    assert grade(data.examples[0], str(game.answer.answer)).correct
    # Nothing that the client wrote passes, so the server answers.
    assert played(asked["thrice"], "thrice").answer.detail["stage"] == 3


def test_what_shows_no_tests_goes_by_vote_and_says_so(data: Dataset) -> None:
    game = played(queries(ordered(), data)["once"], "once")

    assert game.steps("check") == []
    assert game.answer.detail["confidence"] == "vote"
    assert game.answer.detail["stages"][0]["confidence"] == 0.75


def test_tests_that_an_entry_names_itself_go_before_the_examples(data: Dataset) -> None:
    config = ordered(tests="assert True")
    assert {q.options["tests"] for q in queries(config, data).values()} == {"assert True"}
    assert describe_missing_tests(config, data) == ""


def test_no_other_entry_hears_of_visible_tests(data: Dataset) -> None:
    by_vote = ordered(confidence="vote")
    for planned in plan("night", by_vote, data.examples, ()):
        assert "tests" not in options_of(by_vote, planned)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, None),
        ({"checker": None}, "entry 'cope': confidence='tests' needs checker: the visible tests"),
        ({"checker": "bax"}, "entry 'cope': unknown server 'bax'; did you mean 'box'"),
    ],
)
def test_it_can_be_ordered_where_a_checker_is_named(
    options: dict[str, Any], problem: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dependencies, "coordinator", lambda: SimpleNamespace(roster=ROSTER))
    found = evaluations.unsupported_reason(ordered(**options), NOW)
    assert (found or "")[: len(problem or "")] == (problem or "")
    assert (found is None) is (problem is None)


def test_how_many_show_no_tests_is_told_and_all_of_them_are_a_mistake(data: Dataset) -> None:
    bare = replace(data, examples=data.examples[2:])

    assert (
        describe_missing_tests(ordered(), data)
        == "1 of 3 examples have no visible tests: confidence by vote"
    )
    assert describe_missing_tests(ordered(confidence="vote"), bare) == ""
    with pytest.raises(InvalidAsk, match=r"'cope' needs visible tests: no example of func"):
        describe_missing_tests(ordered(), bare)


def test_a_run_remembers_the_visible_tests_that_it_tries() -> None:
    one = Example(id="e", question="?", references=(), kind="code", visible_tests="assert f(1)")
    data = Dataset(name="d", examples=(one,))
    other = replace(data, examples=(replace(one, visible_tests="assert f(2)"),))

    assert digest_of(ordered(), data) != digest_of(ordered(), other)
    by_vote = ordered(confidence="vote")
    assert digest_of(by_vote, data) == digest_of(by_vote, other) == data.digest


def test_replayed_it_goes_by_what_the_query_went_by(data: Dataset) -> None:
    asked = queries(ordered(t1=1.0, t2=1.0, comparison=">"), data)["once"]
    stored = stored_of(
        played(asked, "once").life.state, kind="code", is_right=lambda _: True, prices={}
    )
    (point,) = sweep([stored], t1s=[0.75], t2s=[0.5], ns=[4], confidence="tests")
    assert point.ended[1] == 1
