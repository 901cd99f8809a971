"""One run on a real record: bounded, every unit once, one fault one failed unit."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from colm.db.connection import connect, transaction
from colm.db.record.store import SqlRecord
from colm.db.runs import store
from colm.db.runs.units import Unit, completed_units, units_of
from colm.db.schema.run_tables import units
from colm.evaluation.data.examples import Example
from colm.evaluation.grading import Grade
from colm.models.errors import InvalidAsk, TransientError
from colm.models.messages import Answer, ClientAnswer, Tokens
from colm.models.strategies.base import Finish
from colm.tasks.config.run_config import RunConfig, read_config
from colm.workers.evaluator import run_loop
from colm.workers.evaluator.data import load
from colm.workers.evaluator.plan import Planned, plan
from colm.workers.evaluator.run_loop import Orders, RunLoop
from tests.unit.db_examples import a_query, an_answer
from tests.unit.run_examples import NOW, a_unit

EXAMPLES = [
    Example(id=str(n), question=f"What is {n}?", references=(str(n),), kind="numeric")
    for n in range(12)
]


def config(concurrency: int = 3) -> RunConfig:
    return read_config(
        {
            "data": {"source": "items.jsonl"},
            "entries": [{"name": "alone", "strategy": "single"}],
            "concurrency": concurrency,
        }
    )


class Asked:
    """Stands in for broker, coordinator and models: an asked query is answered a moment later."""

    def __init__(self, engine: Engine, *, delay: float = 0.02) -> None:
        self.record = SqlRecord(engine)
        self.delay = delay
        self.ids: list[str] = []
        self.open: set[str] = set()
        self.most_open = 0
        #: Raised by the next ask.
        self.trouble: list[Exception] = []
        self.failing: set[str] = set()
        self._threads: list[threading.Timer] = []

    def __call__(self, question: str, query_id: str, options: dict[str, Any]) -> None:
        assert options["lane"] == "overnight"
        if self.trouble:
            raise self.trouble.pop()
        self.ids.append(query_id)
        self.open.add(query_id)
        self.most_open = max(self.most_open, len(self.open))
        with self.record.begin(a_query(query_id, question=question, run=options["run"])):
            pass
        timer = threading.Timer(self.delay, self._answer, [question, query_id])
        self._threads.append(timer)
        timer.start()

    def _answer(self, question: str, query_id: str) -> None:
        text = question.removeprefix("What is ").removesuffix("?")
        answer = an_answer(
            query_id,
            answer=text,
            clients={"ada": ClientAnswer(status="refined", draft="0", refined=text)},
            tokens=Tokens(prompt=5, completion=2),
        )
        if question in self.failing:
            answer = an_answer(query_id, status="failed", answer=None, reason="nobody answered")
        self.open.discard(query_id)
        with self.record.open(query_id) as life:
            life.apply(Finish(answer=Answer.model_validate(answer)), NOW)

    def finish(self) -> None:
        for thread in self._threads:
            thread.join()


@pytest.fixture
def engine(sqlite_url: str) -> Iterator[Engine]:
    engine = connect(sqlite_url, pool_size=8)
    store.order(engine, "night", {}, NOW)
    yield engine
    engine.dispose()


@pytest.fixture
def asked(engine: Engine) -> Iterator[Asked]:
    found = Asked(engine)
    yield found
    found.finish()


def grade(planned: Planned, text: str) -> Grade:
    right = text in planned.example.references
    return Grade(status="correct" if right else "wrong", extracted=text)


def work(engine: Engine, asked: Any, **changes: Any) -> RunLoop:
    fields: dict[str, Any] = {
        "engine": engine,
        "config": config(),
        "left": plan("night", config(), EXAMPLES, completed_units(engine, "night")),
        "ask": asked,
        "grade": grade,
        "orders": lambda: "ask",
        "clock": lambda: datetime.now(UTC),
    }
    return RunLoop(**{**fields, **changes})


def done(engine: Engine) -> dict[str, Unit]:
    return {unit.example: unit for unit in units_of(engine, "night")}


def test_every_unit_is_committed_with_its_grades_and_its_cost(engine: Engine, asked: Asked) -> None:
    assert work(engine, asked).run()
    assert sorted(done(engine)) == sorted(example.id for example in EXAMPLES)
    unit = done(engine)["7"]
    assert (unit.status, unit.extracted) == ("correct", "7")
    assert unit.clients == {"ada": {"draft": "wrong", "refined": "correct"}}
    assert (unit.prompt_tokens, unit.completion_tokens) == (5, 2)
    assert unit.seconds == pytest.approx(an_answer().seconds)


def test_no_more_is_in_flight_than_was_ordered(engine: Engine, asked: Asked) -> None:
    asked.delay = 2.0  # long enough for a slow machine to ask three
    work(engine, asked).run()
    assert asked.most_open == 3


def test_a_query_that_fails_is_one_failed_unit(engine: Engine, asked: Asked) -> None:
    asked.failing = {"What is 4?"}
    assert work(engine, asked).run()
    assert Counter(unit.status for unit in done(engine).values()) == {"correct": 11, "failed": 1}
    assert done(engine)["4"].reason == "nobody answered"


def test_a_question_that_cannot_be_asked_is_one_failed_unit(engine: Engine, asked: Asked) -> None:
    asked.trouble = [InvalidAsk("question is too long")]
    assert work(engine, asked).run()
    assert done(engine)["0"].status == "failed"
    assert done(engine)["0"].reason == "question is too long"
    assert len(done(engine)) == 12


def test_a_grader_that_breaks_costs_one_example(engine: Engine, asked: Asked) -> None:
    def breaks(_planned: Planned, text: str) -> Grade:
        return Grade(status="correct" if 1 / (int(text) - 3) else "wrong")

    assert work(engine, asked, grade=breaks).run()
    assert done(engine)["3"].status == "error"
    assert "ZeroDivisionError" in str(done(engine)["3"].reason)
    assert Counter(unit.status for unit in done(engine).values())["correct"] == 11


def test_an_away_broker_is_waited_for(
    engine: Engine, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_loop, "FIRST_PAUSE", 0.01)
    asked.trouble = [TransientError("away"), TransientError("away")]
    assert work(engine, asked).run()
    assert len(done(engine)) == 12
    assert set(Counter(asked.ids).values()) == {1}


@pytest.mark.parametrize("after", [1, 4, 9])
def test_what_was_asked_before_a_crash_is_not_asked_again(
    engine: Engine, asked: Asked, after: int
) -> None:
    """The first evaluator stops dead with queries in flight; they end without it."""

    def until() -> Orders:
        return "stop" if len(asked.ids) >= after else "ask"

    assert not work(engine, asked, orders=until).run()
    assert len(done(engine)) < 12
    assert work(engine, asked).run()
    assert len(done(engine)) == 12
    assert set(Counter(asked.ids).values()) == {1}
    assert len(asked.ids) == 12


def test_a_run_that_is_paused_lets_what_is_in_flight_end(engine: Engine, asked: Asked) -> None:
    def until() -> Orders:
        return "drain" if len(asked.ids) >= 3 else "ask"

    assert not work(engine, asked, orders=until).run()
    assert len(done(engine)) == len(asked.ids) == 3


def test_a_run_of_which_everything_is_done_is_done(engine: Engine, asked: Asked) -> None:
    assert work(engine, asked).run()
    before = len(asked.ids)
    assert work(engine, asked).run()
    assert len(asked.ids) == before


def test_a_run_of_10_000_examples_of_which_half_is_done_goes_on_within_2_s(
    engine: Engine, tmp_path: Path
) -> None:
    """Processor time from the first look at its data to its first question; others do not count."""
    path = tmp_path / "items.jsonl"
    rows = ({"question": f"What is {n}?", "answer": str(n)} for n in range(10_000))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    entries = [{"name": "alone", "strategy": "single"}, {"name": "colm"}]
    found = read_config({"data": {"source": str(path)}, "entries": entries})
    half = list(plan("night", found, load(found.data).examples, ()))[:10_000]
    with transaction(engine) as connection:
        told = [{"run": "night", **vars(a_unit(*p.key, query_id=p.query_id))} for p in half]
        connection.execute(units.insert(), told)
    first: list[float] = []

    def ask(_question: str, query_id: str, _options: dict[str, Any]) -> None:
        first.append(time.process_time() - started)
        assert query_id not in {p.query_id for p in half}

    started = time.process_time()
    left = plan("night", found, load(found.data).examples, completed_units(engine, "night"))
    orders = iter(["ask", "stop"])
    assert not work(engine, ask, config=found, left=left, orders=lambda: next(orders)).run()
    assert first[0] < 2
