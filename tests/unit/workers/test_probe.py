"""What `colm doctor --deep` asks of whom, and what it says of where a question got stuck."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from colm.db.connection import connect
from colm.db.reads.answers import answer_of
from colm.db.reads.client_stats import client_parts
from colm.db.reads.history import query_history
from colm.db.record.store import SqlRecord
from colm.models.errors import SettingsError
from colm.models.messages import Step, StepError
from colm.models.roster import Roster, make_request, resolve
from colm.models.strategies.base import Outcome
from colm.models.strategies.colm.options import ColmOptions
from colm.tasks.config.settings import settings
from colm.workers.doctor import probe
from colm.workers.doctor.doctor import Scope, examine
from colm.workers.doctor.findings import Finding
from colm.workers.doctor.probe import ProbeQuery, plan, probe_findings
from tests.unit import db_examples
from tests.unit.conftest import SetEnvironment
from tests.unit.db_examples import NOW
from tests.unit.examples import DEADLINES, SERVER, a_client

ID = "probe-0001"


@pytest.mark.parametrize(
    ("clients", "servers"),
    [("abc", "m"), ("a", "m"), ("ab", "mn"), ("", "mn"), ("ab", ""), ("", "")],
)
def test_each_participant_is_asked_whatever_the_sites_defaults_are(
    clients: str, servers: str
) -> None:
    roster = Roster(
        clients={name: a_client(name) for name in clients},
        servers={name: SERVER.model_copy(update={"name": name}) for name in servers},
        deadlines=DEADLINES,
        defaults={"colm": {"rounds": 3, "select": 1, "quorum": 2, "refine": False}},
    )
    asked = [
        (set(named), resolve(make_request("Why?", options), roster, ID, NOW))
        for named, options in plan(tuple(clients), tuple(servers))
    ]
    assert set().union(*(named for named, _ in asked)) == set(clients + servers)
    for named, query in asked:
        if query.strategy == "colm":
            options = ColmOptions.model_validate(query.options)
            assert (options.rounds, options.quorum, options.refine) == (1, 1, True)
            assert options.select == len(query.clients)
            assert query.server is not None
            assert named == {*(c.name for c in query.clients), query.server.name}


FAILED = Outcome(
    status="failed", at=NOW, error=StepError(kind="ModelUnusable", reason="no weights")
)
EXPIRED = Outcome(status="expired", at=NOW, error=StepError(kind="expired", reason="nothing came"))


@pytest.mark.parametrize(
    ("outcome", "sent", "lies", "grade", "words"),
    [
        (db_examples.completed(), True, False, "ok", "draft in 1.2 s"),
        (FAILED, True, False, "problem", "draft: ModelUnusable: no weights"),
        (None, False, False, "problem", "its step has not been sent"),
        (None, True, True, "problem", "waits in colm.draft.alice"),
        (None, True, False, "problem", "received its step and did not submit"),
        (EXPIRED, True, False, "problem", "received its step and did not submit"),
    ],
)
def test_it_is_said_of_each_participant_where_its_step_got_stuck(
    sqlite_url: str, outcome: Outcome | None, sent: bool, lies: bool, grade: str, words: str
) -> None:
    engine = connect(sqlite_url)
    record, step = SqlRecord(engine), db_examples.a_step(ID)
    with record.begin(db_examples.a_query(ID)) as life:
        life.apply(db_examples.asking(step), NOW)
        if outcome is not None:
            life.add_outcome(step, outcome)
    if sent:
        record.mark_dispatched([step.step_id], NOW)

    def lies_in(asked: Step) -> str | None:
        return f"colm.{asked.act}.{asked.participant}" if lies else None

    asked = ProbeQuery(query_id=ID, participants=("alice", "oracle"))
    told = list(probe_findings(answer_of(engine, ID), query_history(engine, ID), asked, lies_in))
    engine.dispose()
    whole, alice, oracle = told
    assert (whole.grade, whole.about) == ("problem", "probe")
    assert f"{ID}: open" in whole.detail
    assert (alice.about, alice.grade) == ("probe of alice", grade)
    assert words in alice.detail
    assert (oracle.grade, oracle.about) == ("warning", "probe of oracle")
    assert all(finding.do for finding in told if finding.grade != "ok")


def test_a_probe_that_was_answered_is_well_and_counts_for_nobodys_reliability(
    sqlite_url: str,
) -> None:
    engine = connect(sqlite_url)
    step = db_examples.a_step(ID)
    with SqlRecord(engine).begin(db_examples.a_query(ID)) as life:
        life.apply(db_examples.asking(step), NOW)
        life.add_outcome(step, db_examples.completed())
        life.apply(db_examples.finishing(ID), NOW)
    asked = ProbeQuery(query_id=ID, participants=("alice",))
    told = list(
        probe_findings(answer_of(engine, ID), query_history(engine, ID), asked, lambda _: None)
    )
    assert [finding.grade for finding in told] == ["ok", "ok"]
    assert client_parts(engine, 10) == []
    engine.dispose()


@pytest.mark.parametrize(
    "scope", [Scope(deep=True, broker_only=True), Scope(deep=True, participant="ada")]
)
def test_a_participant_cannot_look_at_a_whole_site(
    environment: SetEnvironment, scope: Scope
) -> None:
    environment(COLM_BROKER="amqp://127.0.0.1:1/colm")
    with pytest.raises(SettingsError, match="--deep looks at a whole site"):
        list(examine(scope))


def probed(monkeypatch: pytest.MonkeyPatch, read: Sequence[str]) -> list[Finding]:
    monkeypatch.setattr(probe, "queues_with_consumers", lambda queues: set(queues) & set(read))
    return list(probe.probe(settings()))


def test_without_a_coordinator_nothing_is_asked(
    environment: SetEnvironment, monkeypatch: pytest.MonkeyPatch, sqlite_url: str
) -> None:
    environment(COLM_DATABASE=sqlite_url, COLM_BROKER="amqp://127.0.0.1:1/colm")
    (told,) = probed(monkeypatch, [])
    assert (told.grade, told.do) == ("problem", "start 'colm coordinator'")


def test_a_participant_that_nobody_runs_is_told_and_not_waited_for(
    environment: SetEnvironment, monkeypatch: pytest.MonkeyPatch, sqlite_url: str
) -> None:
    environment(COLM_DATABASE=sqlite_url, COLM_BROKER="amqp://127.0.0.1:1/colm")
    told = {finding.about: finding for finding in probed(monkeypatch, ["colm.ask"])}
    assert told["probe of ada"].do == "start 'colm client ada'"
    assert "colm.synthesize.main" in told["probe of main"].detail
    assert "probe" not in told
