"""A report's data is what the record says, with or without the data set."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from colm.db.connection import connect
from colm.db.record.store import SqlRecord
from colm.db.runs import store
from colm.db.runs.units import add_unit
from colm.evaluation.stats.analysis import analyse
from colm.models.errors import CallerError, ColmError
from colm.models.messages import Answer, ClientAnswer, Completion, Spent, StepError
from colm.models.strategies.base import Ask, Finish, Outcome
from colm.models.strategies.cope.strategy import Cope
from colm.tasks.config.run_config import read_config
from colm.workers.cli import evaluations
from colm.workers.evaluator.cope_thresholds import state_of, takes_all_stages
from colm.workers.evaluator.data import load
from colm.workers.evaluator.report import read_run, write_report
from colm.workers.result_meta import run_meta
from tests.unit.conftest import SetEnvironment
from tests.unit.db_examples import NOW, a_query, finishing
from tests.unit.run_examples import a_unit

LEDGER = [
    Spent(
        participant="ada", role="client", act="draft", calls=1, prompt=5, completion=2
    ).model_dump(mode="json")
]


@pytest.fixture
def engine(sqlite_url: str) -> Iterator[Engine]:
    engine = connect(sqlite_url)
    yield engine
    engine.dispose()


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    rows = [{"question": f"What is {n}?", "answer": str(n)} for n in range(3)]
    path = tmp_path / "items.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"question": "?"}\n')
    entries = [{"name": "alone", "strategy": "single"}, {"name": "colm"}]
    prices = {"ada": {"input": 1.0, "output": 10.0}}
    given = {"data": {"source": str(path)}, "entries": entries, "prices": prices}
    return read_config(given).model_dump(mode="json")


def unit(engine: Engine, entry: str, example: str, status: str, text: str) -> None:
    found = a_unit(entry, example, status=status, ledger=LEDGER, detail={"stage": 2})
    clients = {"ada": ClientAnswer(status="refined", draft="maybe", refined=text)}
    record = SqlRecord(engine)
    with record.begin(a_query(found.query_id, question=f"Q {example}")) as life:
        life.apply(finishing(found.query_id, answer=text, clients=clients), NOW)
    clients_found = {"ada": {"draft": "wrong", "refined": "correct"}}
    add_unit(engine, "night", replace(found, clients=clients_found))


def order(engine: Engine, config: dict[str, Any]) -> list[str]:
    """Order a run of which one example is done; the ids of all."""
    data = load(read_config(config).data)
    store.order(engine, "night", config, NOW)
    store.acquire(engine, "night", "me", now=NOW, until=NOW)
    store.set_plan(engine, "night", "me", planned=6, data=data.digest, at=NOW)
    ids = [example.id for example in data.examples]
    unit(engine, "alone", ids[0], "wrong", "7")
    unit(engine, "colm", ids[0], "correct", "0")
    return ids


def test_units_come_with_their_texts_grades_and_prices(
    engine: Engine, config: dict[str, Any]
) -> None:
    ids = order(engine, config)
    data = read_run(engine, "night")
    assert [(u.entry, u.status, u.correct) for u in data.units] == [
        ("alone", "graded", False), ("colm", "graded", True),
    ]  # fmt: skip
    ada = data.units[1].clients["ada"]
    assert (ada.draft, ada.refined, ada.draft_text, ada.refined_text) == (False, True, "maybe", "0")
    assert data.units[1].stage == 2
    assert data.examples[ids[1]].references == ("1",)
    assert data.baselines == ("alone",)
    assert data.bad_rows[0][0] == "items.jsonl:4"
    assert data.notes == ("The run is open: 2 of 6 units are done.",)
    found = analyse(data)
    assert [(row.name, row.right, row.n) for row in found.entries] == [
        ("alone", 0, 1), ("colm", 1, 1),
    ]  # fmt: skip
    assert found.entries[0].cost.dollars == pytest.approx((5 * 1 + 2 * 10) / 1e6)


def test_a_query_that_lost_its_server_in_stage_3_failed_there(
    engine: Engine, config: dict[str, Any]
) -> None:
    entries = [{"name": "cope", "strategy": "cope", "options": COPE}]
    given = {**config, "entries": entries}
    store.order(engine, "night", read_config(given).model_dump(mode="json"), NOW)
    record = SqlRecord(engine)
    for example, fails in zip(load(read_config(given).data).examples, [False, True], strict=False):
        found = a_unit("cope", example.id, ledger=LEDGER)
        answer = sampled(record, found.query_id, server_fails=fails)
        add_unit(engine, "night", replace(found, detail=answer.detail))

    data = read_run(engine, "night")

    told = {(u.stage, u.reached, u.accepted) for u in data.units}
    assert told == {(3, 3, True), (2, 3, False)}
    _, second, third = analyse(data).stages["cope"]
    assert (second.ended, third.ended, third.failed) == (0, 1, 1)


def test_clients_that_nobody_graded_are_neither_right_nor_wrong(
    engine: Engine, config: dict[str, Any]
) -> None:
    ids = order(engine, {**config, "grader": {"kind": "judge"}})
    ungraded = a_unit("colm", ids[1], ledger=LEDGER, clients={})
    clients = {"ada": ClientAnswer(status="refined", draft="maybe", refined="1")}
    with SqlRecord(engine).begin(a_query(ungraded.query_id, question="Q")) as life:
        life.apply(finishing(ungraded.query_id, answer="1", clients=clients), NOW)
    add_unit(engine, "night", ungraded)

    found = analyse(read_run(engine, "night"))

    assert [(row.entry, row.client, row.change.n) for row in found.clients] == [
        ("alone", "ada", 1), ("colm", "ada", 1),
    ]  # fmt: skip


@pytest.mark.parametrize(("kind", "accuracy"), [("auto", 0.5), ("numeric", 1.0), ("judge", None)])
def test_replayed_answers_are_graded_as_the_run_was(
    engine: Engine, config: dict[str, Any], kind: str, accuracy: float | None
) -> None:
    Path(config["data"]["source"]).write_text(
        '{"question": "One?", "answer": "4.0 cm"}\n{"question": "Two?", "answer": "4"}\n'
    )
    entries = [{"name": "cope", "strategy": "cope", "options": COPE}]
    given = read_config({**config, "entries": entries, "grader": {"kind": kind}})
    store.order(engine, "night", given.model_dump(mode="json"), NOW)
    for example in load(given.data).examples:
        found = a_unit("cope", example.id, ledger=LEDGER)
        sampled(SqlRecord(engine), found.query_id)
        add_unit(engine, "night", found)

    sweeps = read_run(engine, "night").threshold_sweeps

    assert {p.accuracy for p in sweeps.get("cope", ())} == {accuracy} - {None}


COPE = {"n": 1, "t1": 1.0, "t2": 1.0, "comparison": ">", "kind": "numeric"}


def sampled(record: SqlRecord, query_id: str, *, server_fails: bool = False) -> Answer:
    """Record a query of cope in which everybody says 4, or the server nothing in stage 3."""
    said = Completion(
        text="Answer: 4", finish_reason="stop", prompt_tokens=3, completion_tokens=3,
        engine="scripted", model="none",
    )  # fmt: skip
    whole = Outcome(status="completed", at=NOW, completion=said)
    silence = Outcome(status="failed", at=NOW, error=StepError(kind="EngineError", reason="gone"))
    with record.begin(a_query(query_id, strategy="cope", options=COPE)) as life:
        life.apply(move := Cope().next_move(life.state, NOW), NOW)
    while isinstance(move, Ask):
        with record.open(query_id) as life:
            for step in move.steps:
                lost = server_fails and step.round == 3
                life.add_outcome(step, silence if lost else whole)
            life.apply(move := Cope().next_move(life.state, NOW), NOW)
    assert isinstance(move, Finish)
    return move.answer


def test_a_report_is_written_from_the_record(
    engine: Engine, config: dict[str, Any], tmp_path: Path, environment: SetEnvironment
) -> None:
    order(engine, config)
    environment(COLM_DATABASE=engine.url.render_as_string(hide_password=False))
    write_report("nigh", None, tmp_path / "told", as_json=False)
    written = {path.name for path in (tmp_path / "told").iterdir()}
    assert {"report.html", "report.json"} <= written
    told = json.loads((tmp_path / "told" / "report.json").read_text())
    assert (told["run"], told["done"], told["planned"]) == ("night", 2, 6)


def test_without_a_name_the_newest_run_is_reported(
    engine: Engine, config: dict[str, Any], tmp_path: Path, environment: SetEnvironment
) -> None:
    environment(COLM_DATABASE=engine.url.render_as_string(hide_password=False))
    with pytest.raises(
        CallerError, match="the record has no run: order one with `colm evaluate FILE`"
    ):
        write_report(None, None, tmp_path / "none", as_json=False)
    order(engine, config)
    store.order(engine, "older", config, NOW - timedelta(days=1))
    write_report(None, None, tmp_path / "told", as_json=False)
    assert json.loads((tmp_path / "told" / "report.json").read_text())["run"] == "night"


def test_nothing_done_is_nothing_to_report(
    engine: Engine, config: dict[str, Any], environment: SetEnvironment
) -> None:
    store.order(engine, "night", config, NOW)
    environment(COLM_DATABASE=engine.url.render_as_string(hide_password=False))
    with pytest.raises(ColmError, match="run night has no finished units yet"):
        write_report("night", None, None, as_json=True)


@pytest.mark.parametrize("change", ["removed", "changed"])
def test_without_its_data_a_run_is_told_from_the_record(
    engine: Engine, config: dict[str, Any], change: str
) -> None:
    ids = order(engine, config)
    path = Path(config["data"]["source"])
    if change == "removed":
        path.unlink()
    else:
        path.write_text('{"question": "Another?", "answer": "1"}\n')
    data = read_run(engine, "night")
    assert any("references are missing" in note for note in data.notes)
    assert data.examples[ids[0]].question == f"Q {ids[0]}"
    assert data.examples[ids[0]].references == ()
    assert [u.correct for u in data.units] == [False, True]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"t1": 1.0, "t2": 1.0, "comparison": ">"}, True),
        ({"t1": 1.0, "t2": 1.0}, False),
        ({}, False),
        ({"t1": 1.0, "t2": 1.0, "comparison": ">", "confidence": "tests"}, True),
        ({"t1": 1.0, "t2": 1.0, "comparison": ">", "confidence": "perplexity"}, False),
    ],
)
def test_thresholds_are_replayed_where_every_stage_was_gone_through(
    config: dict[str, Any], options: dict[str, Any], expected: bool
) -> None:
    entries = [{"name": "cope", "strategy": "cope", "options": options}]
    found = read_config({**config, "entries": entries, "baselines": []})
    assert takes_all_stages(found.entries[0]) is expected


def test_a_query_is_read_as_its_strategy_saw_it(engine: Engine) -> None:
    record = SqlRecord(engine)
    query = a_query("query-0001", strategy="cope", options={"n": 2})
    completion = Completion(
        text="I would add.", finish_reason="stop", prompt_tokens=3, completion_tokens=3,
        engine="scripted", model="none",
    )  # fmt: skip
    with record.begin(query) as life:
        life.apply(Cope().next_move(life.state, NOW), NOW)
    with record.open("query-0001") as life:
        step = life.state.steps[0].step
        life.add_outcome(step, Outcome(status="completed", at=NOW, completion=completion))
        seen = life.state
    assert state_of(engine, "query-0001") == seen
    with pytest.raises(LookupError, match="query-0002"):
        state_of(engine, "query-0002")


def test_a_result_of_evaluate_is_the_run(engine: Engine, config: dict[str, Any]) -> None:
    assert run_meta(engine, "night") is None
    order(engine, config)
    assert run_meta(engine, "night") == {
        "task_id": "night", "status": "STARTED", "result": None, "traceback": None,
        "children": [], "date_done": None, "name": "colm.evaluate",
    }  # fmt: skip
    store.release(engine, "night", "me", now=NOW, state="done")
    done = run_meta(engine, "night")
    assert done is not None
    assert done["status"] == "SUCCESS"
    assert [entry["done"] for entry in done["result"]["entries"]] == [1, 1]
    store.order(engine, "bad", config, NOW, "there is no 'ada'")
    failed = run_meta(engine, "bad")
    assert failed is not None
    assert (failed["status"], str(failed["result"])) == ("FAILURE", "run bad: there is no 'ada'")
    store.change(engine, "bad", "cancelled", NOW)
    assert (run_meta(engine, "bad") or {})["status"] == "REVOKED"


def test_what_a_report_needs_and_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "colm.workers.evaluator.report", None)
    with pytest.raises(ColmError, match=r"pip install 'colm\[evaluation\]'"):
        evaluations.report("night")
